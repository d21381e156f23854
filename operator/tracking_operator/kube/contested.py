"""Objects that something else changes right after each of our writes, such as a mutating admission policy.

After a few tries in vain we give way: such an object is written again only when something else is wanted of it,
something else about it differs, or a dry run has shown that a write would stay.
"""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

Key = TypeVar("Key")

MOST_TRIES: Final = 3
REMEMBERED: Final = 10_000
"""Objects; of one that is forgotten, writes are tried again."""


@dataclass(frozen=True)
class _Contest:
    mark: str
    differences: tuple[str, ...]
    tries: int


class Contests(Generic[Key]):
    """What was tried in vain."""

    def __init__(self) -> None:
        self._contests: OrderedDict[Key, _Contest] = OrderedDict()

    def note(self, key: Key, mark: str, differences: Sequence[str]) -> None:
        """Count a look at which an object differs right after a write, in this way from what ``mark`` stands for."""
        found = tuple(differences)
        known = self._contests.pop(key, None)
        tries = known.tries + 1 if known and (known.mark, known.differences) == (mark, found) else 1
        self._contests[key] = _Contest(mark, found, tries)
        if len(self._contests) > REMEMBERED:
            self._contests.popitem(last=False)

    def has_given_way(self, key: Key, mark: str, differences: Sequence[str]) -> bool:
        """Whether it was tried often enough to make the object as ``mark`` stands for, and it differs as it did then."""
        known = self._contests.get(key)
        return (
            known is not None
            and known.tries >= MOST_TRIES
            and (known.mark, known.differences) == (mark, tuple(differences))
        )

    def knows(self, key: Key) -> bool:
        """Whether anything was tried in vain with an object."""
        return key in self._contests

    def forget(self, key: Key) -> None:
        """The object is as wanted, or gone."""
        self._contests.pop(key, None)
