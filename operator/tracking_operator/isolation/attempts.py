"""What an attempt is, and how what was seen is compared with what has to be seen.

Pods carry this file: it knows nothing but the standard library.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Generic, TypeVar

LONGEST_WORDS: Final = 300
"""In characters: how much of an answer is kept. Whoever is attacked, or attacks, writes it."""

Scene = TypeVar("Scene")


class Area(StrEnum):
    """What is attacked."""

    DATABASES = "databases"
    BUCKETS = "buckets"
    KUBERNETES_OBJECTS = "Kubernetes objects"
    ADDRESSES = "addresses"
    NAMES = "names from templates"
    LOGIN = "login"
    NETWORK = "network"
    DENIAL_OF_SERVICE = "denial of service"
    BACKUPS = "backups"
    CLIENTS = "clients"
    DELETION = "deletion"


class By(StrEnum):
    """Who attacks; threats in docs/explanation/security.md."""

    TENANT = "a team with its Secrets"
    USER = "a user inside one MLflow"
    STRANGER = "a stranger on the network"
    FORMER = "a team whose server is gone"
    BACKUP = "somebody with a backup"


class Verdict(StrEnum):
    """What came of an attempt."""

    DONE = "done"
    REFUSED = "refused"
    NOT_TRIED = "not tried"
    NOT_APPLICABLE = "not applicable"
    """There is nothing to attack: the class has no bucket, for example. It is said, and is no failure."""


class Refused(Exception):
    """The attempt came to nothing; the text is what was said or seen."""


class CannotTryError(Exception):
    """The attempt cannot be made, because something that it needs is missing; the text says what."""


class NotApplicable(Exception):
    """There is nothing of the kind to attack; the text says what the class or the cluster does not have."""


@dataclass(frozen=True)
class Attempt:
    """One row of the matrix.

    Attributes:
        id: the row's name: the area and a few words.
        area: what is attacked.
        by: who attacks.
        against: whose, or what.
        tried: what is done.
        refusal: a regular expression of the refusal that has to be seen; empty for an act on one's own things, which
            has to succeed and shows that the refusals around it mean something.
        harmless: whether nothing is lost if the attempt succeeds, and nothing is disturbed while it is made.
    """

    id: str
    area: Area
    by: By
    against: str
    tried: str
    refusal: str = ""
    harmless: bool = True

    @property
    def expected(self) -> Verdict:
        """What has to come of it."""
        return Verdict.REFUSED if self.refusal else Verdict.DONE


@dataclass(frozen=True)
class Seen:
    """What came of an attempt, in the words of whoever was attacked."""

    verdict: Verdict
    words: str = ""

    @classmethod
    def of(cls, verdict: Verdict, words: object) -> "Seen":
        """Keep the words in one line that a terminal can show."""
        line = " ".join(str(words).split())
        shown = "".join(character if character.isprintable() else "?" for character in line)
        return cls(verdict, shown[:LONGEST_WORDS])


@dataclass(frozen=True)
class Row:
    """An attempt and what was seen."""

    attempt: Attempt
    seen: Seen

    @property
    def is_as_expected(self) -> bool:
        """Whether what was seen is what has to be seen, for the right reason."""
        if self.seen.verdict is Verdict.NOT_APPLICABLE:
            return True
        if self.seen.verdict is not self.attempt.expected:
            return False
        return re.search(self.attempt.refusal, self.seen.words, re.IGNORECASE) is not None


@dataclass(frozen=True)
class Book(Generic[Scene]):
    """The attempts of an area, each with the function that makes it.

    The function returns what it has got, or raises: ``Refused`` or an error of the attacked system's driver where it
    was refused, ``CannotTryError`` where it could not try, ``NotApplicable`` where there is nothing to attack.
    """

    area: Area
    acts: dict[str, tuple[Attempt, Callable[[Scene], object]]] = field(default_factory=dict)

    def add(self, attempt: Attempt, act: Callable[[Scene], object]) -> None:
        """Add a row."""
        if attempt.id in self.acts:
            raise ValueError(f"two attempts are called {attempt.id}")
        self.acts[attempt.id] = (attempt, act)

    def attempt(
        self,
        name: str,
        tried: str,
        *,
        against: str,
        refusal: str = "",
        by: By = By.TENANT,
        harmless: bool = True,
    ) -> Callable[[Callable[[Scene], object]], Callable[[Scene], object]]:
        """Make the function below an attempt."""

        def register(act: Callable[[Scene], object]) -> Callable[[Scene], object]:
            words = f"{self.area.value.lower().replace(' ', '-')}/{name}"
            self.add(Attempt(words, self.area, by, against, tried, refusal, harmless), act)
            return act

        return register

    @property
    def attempts(self) -> list[Attempt]:
        """The rows, in their order."""
        return [attempt for attempt, _ in self.acts.values()]
