"""The lock of a migration, where the database or a pooler ends its session while MLflow migrates."""

from typing import TYPE_CHECKING, cast

import pytest
from sqlalchemy.exc import OperationalError

from tracking_operator.pod_tools import migrate_backend_store as program
from tracking_operator.pod_tools.checks import CheckFailed
from tracking_operator.pod_tools.database_servers import EXTERNAL

if TYPE_CHECKING:
    import sqlalchemy

STORE = program.Store(EXTERNAL, "postgresql://", ["sleep", "60"])


class Session:
    """The session with the lock, which answers so many times."""

    def __init__(self, answers: int) -> None:
        self.answers = answers

    def scalar(self, _: object) -> int:
        self.answers -= 1
        if self.answers < 0:
            raise OperationalError("SELECT 1", {}, Exception("server closed the connection unexpectedly"))
        return 1


def held_by(session: Session) -> "sqlalchemy.Connection":
    return cast("sqlalchemy.Connection", session)


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SECONDS_BETWEEN_SIGNS", 0.01)


def test_what_runs_under_a_lock_that_is_lost_is_ended_and_tried_again() -> None:
    with pytest.raises(CheckFailed) as lost, program.held(held_by(Session(3))):
        program.run_upgrade(STORE, STORE.upgrade, "mlflow db upgrade")
    assert (lost.value.reason, lost.value.message) == ("StoreUnreachable", program.LOCK_IS_LOST)


def test_what_was_killed_by_somebody_else_is_told_as_that() -> None:
    with pytest.raises(program.Killed), program.held(held_by(Session(10**6))):
        program.run_upgrade(STORE, ["sh", "-c", "kill -9 $$"], "mlflow db upgrade")
    assert not program.UNDER_WAY
