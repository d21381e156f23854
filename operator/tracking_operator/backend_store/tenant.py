"""What one tracking server owns on a PostgreSQL server, and how it should be."""

from dataclasses import dataclass, field
from typing import Self

from tracking_operator.backend_store.identifiers import checked_identifier
from tracking_operator.mark import Mark

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


@dataclass(frozen=True)
class RoleDefaults:
    """Time-outs in milliseconds that each session of a login begins with; the tenant may change them."""

    statement_timeout: int = 300_000
    lock_timeout: int = 60_000
    idle_in_transaction_session_timeout: int = 120_000

    @property
    def settings(self) -> Settings:
        """The settings by their names, as the catalog holds them."""
        return (
            ("statement_timeout", str(self.statement_timeout)),
            ("lock_timeout", str(self.lock_timeout)),
            ("idle_in_transaction_session_timeout", str(self.idle_in_transaction_session_timeout)),
        )


@dataclass(frozen=True)
class Desired:
    """How a tenant's database and roles should be.

    ``login`` is the one of the tenant's two logins that the server uses now; the other one is left as it
    is, because it may still be in use while credentials rotate. ``verifier`` is what PostgreSQL stores in
    place of the password (``scram.verifier``); it is sent when ``login`` cannot log in yet, or when
    ``set_password`` asks for it. ``connection_limit`` is per login.
    """

    tenant: Tenant
    login: str
    verifier: str = field(repr=False)
    connection_limit: int = 20
    defaults: RoleDefaults = RoleDefaults()
    set_password: bool = False

    def __post_init__(self) -> None:
        if self.login not in self.tenant.logins:
            raise ValueError(f"{self.login!r} is not one of {self.tenant.logins}")

    def settings_of_logins(self) -> Settings:
        """What each login's sessions in the tenant's database begin with."""
        return (("role", self.tenant.role), *self.defaults.settings)
