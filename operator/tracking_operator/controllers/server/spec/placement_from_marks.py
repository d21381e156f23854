"""Where the stores say, by their marks, that the data of a server is which has no placement (decision 0022)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.api.placement import ArtifactStoreKind, BackendStoreKind
from tracking_operator.failures import Invalid


@dataclass(frozen=True)
class Found:
    """What carries a server's mark, by the kind of store that it is in; None where nothing does."""

    names: Mapping[BackendStoreKind | ArtifactStoreKind, str | None] = field(default_factory=dict)

    @property
    def database(self) -> str | None:
        """The database on the class's PostgreSQL."""
        return self.names.get(BackendStoreKind.POSTGRES)

    @property
    def prefix(self) -> str | None:
        """The prefix in the class's bucket."""
        return self.names.get(ArtifactStoreKind.S3)


NOTHING_FOUND: Final = Found()


def the_only(marked: Sequence[str], where: str) -> str | None:
    """What carries a server's mark; None if nothing does. Raises Invalid: several do."""
    if len(marked) > 1:
        raise Invalid(
            Reason.AMBIGUOUS_MARKS,
            f"It is not recorded where this server's data is, and several {where} carry its mark: {', '.join(marked)}. Nothing "
            "was made or changed: ask the platform team to remove the marks of those that do not hold its data.",
        )
    return marked[0] if marked else None
