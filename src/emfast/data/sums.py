"""Sums that do not depend on how their terms come."""

from collections.abc import Iterable
from typing import Any


class Tree:
    """The sum of any number of terms, added as a binary tree whose shape is their number alone.

    Terms 0 and 1 are added, 2 and 3, then these two sums, and so on; where a term or sum has no
    partner it waits for the next level. Only one sum of every level is kept.
    """

    def __init__(self) -> None:
        self._sums: list[tuple[int, Any]] = []

    def add(self, term: Any) -> None:
        """The next term."""
        level = 0
        while self._sums and self._sums[-1][0] == level:
            term, level = self._sums.pop()[1] + term, level + 1
        self._sums.append((level, term))

    def total(self) -> Any:
        """The sum of all terms, of which there is at least one."""
        *others, (_, total) = self._sums
        for _, earlier in reversed(others):
            total = earlier + total
        return total


def added(terms: Iterable[Any]) -> Any:
    """The sum of terms, of which there is at least one, as `Tree` adds them."""
    tree = Tree()
    for term in terms:
        tree.add(term)
    return tree.total()


class Nodes:
    """Some terms of such a sum, wherever they were added: what is complete of its tree.

    Sums over other terms add with `+`. Once all terms are there, the total has the bits that `Tree`
    gives, whoever has added which of them.
    """

    def __init__(self) -> None:
        # By (level, place in it).
        self._sums: dict[tuple[int, int], Any] = {}

    def add(self, place: int, term: Any) -> None:
        """The term of this place, from 0 on."""
        self._put(0, place, term)

    def __add__(self, other: "Nodes") -> "Nodes":
        both = Nodes()
        for nodes in (self, other):
            for (level, place), term in nodes._sums.items():
                both._put(level, place, term)
        return both

    def __len__(self) -> int:
        return len(self._sums)

    def _put(self, level: int, place: int, term: Any) -> None:
        while (level, place ^ 1) in self._sums:
            partner = self._sums.pop((level, place ^ 1))
            term = partner + term if place % 2 else term + partner
            level, place = level + 1, place // 2
        self._sums[level, place] = term

    def total(self) -> Any:
        """The sum of all terms, none of which is missing."""
        # The last terms are those of the lowest level.
        (_, total), *others = sorted(self._sums.items(), key=lambda node: node[0])
        for _, earlier in others:
            total = earlier + total
        return total
