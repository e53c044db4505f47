"""Sums that do not depend on how their terms come."""

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
