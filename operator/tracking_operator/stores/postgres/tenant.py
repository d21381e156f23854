"""What one tracking server owns on a PostgreSQL server, and how it should be."""

from dataclasses import dataclass, field
from typing import Final, Self

from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.postgres.identifiers import checked_identifier

Settings = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Tenant:
    """The names of one server's database and roles.

    All objects in ``database`` belong to ``role``, which cannot log in. The two ``logins`` become that
    role as soon as they connect, and take turns when credentials rotate.

    Raises:
        Invalid: a name is too long, or cannot be used for another reason.

    """

    database: str
    role: str
    logins: tuple[str, str]
    mark: Mark

    def __post_init__(self) -> None:
        for name in (self.database, self.role, *self.logins):
            checked_identifier(name)

    @classmethod
    def named(cls, name: str, mark: Mark) -> Self:
        """The tenant whose database and role are called ``name``; at most 61 bytes of UTF-8."""
        return cls(database=name, role=name, logins=(f"{name}_a", f"{name}_b"), mark=mark)

    @property
    def roles(self) -> tuple[str, str, str]:
        """All roles, the owner of the objects first."""
        return (self.role, *self.logins)

    def other_login(self, login: str) -> str:
        """The login whose turn it is after ``login``."""
        first, second = self.logins
        return second if login == first else first


TIMEOUTS_OF_LOGINS: Final[Settings] = (
    ("statement_timeout", "300000"),
    ("lock_timeout", "60000"),
    ("idle_in_transaction_session_timeout", "120000"),
)
"""In milliseconds: what each session of a login begins with; the tenant may change them."""

NAMES_OF_SETTINGS: Final = ("role", *(name for name, _ in TIMEOUTS_OF_LOGINS))
"""The settings of a login that we give it in the tenant's database."""


@dataclass(frozen=True)
class Desired:
    """How a tenant's database and roles should be.

    ``login`` is the one of the tenant's two logins that the server uses now; the other one may still be in use
    while credentials rotate, but not for ever: where nothing earlier was set, until ``other_until``, in seconds
    since 1970. PostgreSQL is told the ``password`` when ``login`` cannot log in yet, or when ``set_password`` asks
    for it. ``connection_limit`` is for both logins together.
    """

    tenant: Tenant
    login: str
    password: str = field(repr=False)
    connection_limit: int = 20
    set_password: bool = False
    other_until: float | None = None

    def __post_init__(self) -> None:
        if self.login not in self.tenant.logins:
            raise ValueError(f"{self.login!r} is not one of {self.tenant.logins}")

    def settings_of_logins(self) -> Settings:
        """What each login's sessions in the tenant's database begin with."""
        return (("role", self.tenant.role), *TIMEOUTS_OF_LOGINS)
