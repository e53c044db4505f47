"""Parameters that are known, which EM must not move: whole groups, or some components of one.

Values that are given for some components only have NaN for the others, inside the package.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np


class Known(Mapping):
    """Which parameters are known: by group True, or a boolean array over the components.

    ``group in known`` asks whether the group is known as a whole.

    Parameters
    ----------
    groups : collection of str, or mapping of str to True or an array of shape (n_components,)
    """

    def __init__(self, groups: Collection[str] | Mapping[str, Any] = ()):
        if not isinstance(groups, Mapping):
            groups = dict.fromkeys(groups, True)
        masks = {group: np.asarray(which, bool) for group, which in groups.items()}
        self._masks = {
            group: True if mask.all() else mask for group, mask in masks.items() if mask.any()
        }

    def __getitem__(self, group: str) -> bool | np.ndarray:
        return self._masks[group]

    def __iter__(self) -> Iterator[str]:
        return iter(self._masks)

    def __len__(self) -> int:
        return len(self._masks)

    def __contains__(self, group: object) -> bool:
        return self._masks.get(group) is True

    def touches(self, group: str) -> bool:
        """Whether some of a group is known."""
        return group in self._masks

    def of(self, group: str, n_components: int) -> np.ndarray:
        """The components whose values in this group are known, (n_components,), bool."""
        known = self._masks.get(group)
        if known is None:
            return np.zeros(n_components, bool)
        return np.broadcast_to(known, n_components)

    def or_gone(self, group: str, gone: np.ndarray) -> np.ndarray:
        """The components that are known or `gone`."""
        known = self._masks.get(group)
        return gone if known is None else gone | known

    def n_free(self, group: str, n_components: int) -> int:
        """How many components have values in this group that are not known."""
        return int(np.count_nonzero(~self.of(group, n_components)))

    def keep(
        self, group: str, estimate: np.ndarray, previous: np.ndarray, gone: np.ndarray | None = None
    ) -> np.ndarray:
        """`estimate`, overwritten by `previous` for components that are known or `gone`."""
        if group in self:
            return previous
        kept = self._masks.get(group) if gone is None else self.or_gone(group, gone)
        if kept is not None and np.count_nonzero(kept):
            estimate[kept] = previous[kept]
        return estimate

    def only(self, given: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Of the given values those that are known."""
        values = {}
        for group in self:
            values[group] = given[group].copy()
            values[group][~self.of(group, len(given[group]))] = np.nan
        return values

    def covers(self, given: dict[str, np.ndarray]) -> bool:
        """Whether all given values are known."""
        return all(
            group in self or not np.any(components_given(values) & ~self.of(group, len(values)))
            for group, values in given.items()
        )


NOTHING_KNOWN = Known()


def components_given(values: np.ndarray) -> np.ndarray:
    """Which entries along the first axis have values, (n_components,), bool."""
    return ~np.isnan(values.reshape(len(values), -1)[:, 0])


def given_as_a_whole(groups: Collection[str], given: dict[str, np.ndarray]) -> bool:
    """Whether every component has values in all of these groups."""
    return all(group in given and components_given(given[group]).all() for group in groups)


def filled(values: np.ndarray | None, current: np.ndarray) -> np.ndarray:
    """Given values, and what is `current` where none are."""
    return current if values is None else np.where(np.isnan(values), current, values)


def check_fixed(
    fixed: Any, groups: tuple[str, ...], shared: Collection[str], n_components: int
) -> Known:
    """What the user says is known.

    Parameters
    ----------
    fixed : None, collection of str, or mapping of str to a bool or to one bool for each component
    groups : tuple of str, the groups there are
    shared : collection of str, those whose values all components share
    n_components : int

    Raises
    ------
    ValueError
        A group there is not, or what is said of it is neither a bool nor one for each component.
    """
    if fixed is None:
        return NOTHING_KNOWN
    said = dict(fixed) if isinstance(fixed, Mapping) else {}
    for group in fixed:
        if not isinstance(group, str) or group not in groups:
            raise ValueError(f"fixed: found {group!r}; expected names among {groups}")
    for group, which in said.items():
        of_components = np.asarray(which)
        if of_components.dtype != bool or of_components.shape not in ((), (n_components,)):
            raise ValueError(
                f"fixed: found {which!r} for {group!r}; expected True, False or one of them for "
                f"each of the {n_components} components"
            )
        if group in shared and len(np.unique(of_components)) > 1:
            raise ValueError(
                f"fixed: found {which!r} for {group!r}, which all components share; expected True "
                "or False"
            )
    return Known(said or fixed)


def check_known_values(
    known: Known,
    given: dict[str, np.ndarray],
    n_components: int,
    called: Callable[[str], str],
    named: Callable[[str], str] = str,
) -> None:
    """Raise where a known value is not given.

    `called` is how messages call the argument that gives a group, and `named` the group.
    """
    for group in sorted(known):
        if group not in given:
            raise ValueError(
                f"fixed: {named(group)!r} needs the known values, but {called(group)} is None"
            )
        if group in known and components_given(given[group]).all():
            continue
        missing = known.of(group, n_components) & ~components_given(given[group])
        if missing.any():
            raise ValueError(
                f"fixed: {named(group)!r} of component {missing.argmax()} needs the known values, "
                f"but {called(group)} has None there"
            )
