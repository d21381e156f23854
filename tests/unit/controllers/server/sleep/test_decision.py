"""When a server sleeps by itself, what wakes it, and what is told of it."""

from datetime import UTC, datetime, timedelta

from tests.unit.examples import Manifest, server
from tracking_operator.api.labels_and_annotations import WAKE_ANNOTATION
from tracking_operator.api.sleep import SleepCause, SleepStatus
from tracking_operator.controllers.server.sleep.decision import decide, sentence, while_suspended

NIGHTS: Manifest = {"schedule": [{"from": "20:00", "to": "07:00"}]}
IDLE: Manifest = {"afterIdle": "2h"}
DAY, EVENING, NIGHT, MORNING = (
    datetime(2026, 1, 5, 12, tzinfo=UTC),
    datetime(2026, 1, 5, 20, tzinfo=UTC),
    datetime(2026, 1, 6, 2, tzinfo=UTC),
    datetime(2026, 1, 6, 7, tzinfo=UTC),
)
MINUTE = timedelta(minutes=1)


class Life:
    """A server whose clock goes on."""

    def __init__(self, sleep: Manifest, **metadata: object) -> None:
        self.sleep, self.metadata = sleep, metadata
        self.status: Manifest = {}
        self.changes_at: datetime | None = None

    def at(self, now: datetime, *, is_idle: bool = False) -> SleepCause | None:
        """Look at it; return why it sleeps."""
        resource = server({"sleep": self.sleep}, status=self.status, **self.metadata)
        decision = decide(resource, now, is_idle=is_idle)
        self.status = {"sleep": decision.status.as_kubernetes()} if decision.status else {}
        self.changes_at = decision.changes_at
        return decision.status.cause if decision.status else None

    def wake(self, value: str) -> None:
        self.metadata["annotations"] = {WAKE_ANNOTATION: value}


def test_a_server_that_does_not_say_never_sleeps() -> None:
    life = Life({})
    assert life.at(NIGHT, is_idle=True) is None
    assert (life.status, life.changes_at) == ({}, None)


def test_a_schedule_puts_a_server_to_sleep_and_wakes_it() -> None:
    life = Life(NIGHTS)
    assert life.at(DAY) is None
    assert (life.status, life.changes_at) == ({}, EVENING)
    assert life.at(EVENING) is SleepCause.SCHEDULE
    assert life.status["sleep"] == {
        "cause": "Schedule",
        "since": "2026-01-05T20:00:00Z",
        "until": "2026-01-06T07:00:00Z",
    }
    assert life.changes_at == MORNING
    before = life.status
    assert life.at(NIGHT) is SleepCause.SCHEDULE
    assert life.status == before
    assert life.at(MORNING) is None
    assert life.status == {}


def test_who_was_made_at_night_is_awake_until_the_morning() -> None:
    life = Life(NIGHTS, creationTimestamp="2026-01-05T22:00:00Z")
    assert life.at(NIGHT) is None
    assert life.changes_at == EVENING + timedelta(days=1)
    assert life.at(EVENING + timedelta(days=1)) is SleepCause.SCHEDULE


def test_whoever_is_woken_stays_awake_until_the_time_of_the_schedule_ends() -> None:
    life = Life(NIGHTS)
    life.at(EVENING)
    life.wake("now")
    assert life.at(NIGHT) is None
    assert life.status["sleep"] == {"woken": "now", "wokenAt": "2026-01-06T02:00:00Z"}
    assert life.at(NIGHT + MINUTE) is None
    assert life.at(EVENING + timedelta(days=1)) is SleepCause.SCHEDULE
    life.wake("again")
    assert life.at(EVENING + timedelta(days=1, minutes=1)) is None


def test_the_same_value_wakes_once() -> None:
    life = Life(NIGHTS)
    life.wake("once")
    assert life.at(DAY) is None
    assert life.at(EVENING) is SleepCause.SCHEDULE
    assert life.at(NIGHT) is SleepCause.SCHEDULE


def test_idleness_puts_a_server_to_sleep_until_somebody_wakes_it() -> None:
    life = Life(IDLE)
    assert life.at(DAY) is None
    assert life.at(DAY + MINUTE, is_idle=True) is SleepCause.IDLE
    assert life.status["sleep"] == {"cause": "Idle", "since": "2026-01-05T12:01:00Z"}
    assert life.at(NIGHT + timedelta(days=30)) is SleepCause.IDLE
    assert life.changes_at is None
    life.wake("please")
    assert life.at(NIGHT + timedelta(days=31)) is None
    assert life.at(NIGHT + timedelta(days=32), is_idle=True) is SleepCause.IDLE


def test_whoever_is_woken_in_the_moment_that_it_would_fall_asleep_stays_awake() -> None:
    life = Life(IDLE)
    life.at(DAY)
    life.wake("please")
    assert life.at(DAY + MINUTE, is_idle=True) is None


def test_the_end_of_a_time_of_the_schedule_wakes_idle_servers_too() -> None:
    life = Life(NIGHTS | IDLE)
    assert life.at(DAY, is_idle=True) is SleepCause.IDLE
    assert life.changes_at == MORNING
    assert life.at(EVENING) is SleepCause.SCHEDULE
    assert life.status["sleep"]["since"] == "2026-01-05T12:00:00Z"
    assert life.at(MORNING) is None


def test_a_server_woken_at_night_falls_asleep_again_when_it_is_idle() -> None:
    life = Life(NIGHTS | IDLE)
    life.at(EVENING)
    life.wake("now")
    assert life.at(NIGHT) is None
    assert life.at(NIGHT + timedelta(hours=2), is_idle=True) is SleepCause.IDLE
    assert life.changes_at == MORNING
    assert life.at(MORNING) is None


def test_without_the_field_a_server_is_awake_at_once() -> None:
    life = Life(IDLE)
    life.at(DAY, is_idle=True)
    life.sleep = {}
    assert life.at(DAY + MINUTE) is None
    assert life.status == {}


def test_a_lost_status_wakes_nobody_whom_the_schedule_puts_to_sleep() -> None:
    life = Life(NIGHTS)
    life.at(EVENING)
    life.status = {}
    assert life.at(NIGHT) is SleepCause.SCHEDULE


def test_what_woke_a_server_does_not_count_again_after_it_was_suspended() -> None:
    life = Life(NIGHTS)
    life.wake("once")
    life.at(DAY)
    kept = while_suspended(server({"suspend": True, "sleep": NIGHTS}, status=life.status))
    assert kept == SleepStatus(woken="once", woken_at=DAY)
    assert while_suspended(server({"suspend": True}, status=life.status)) is None


def test_a_person_reads_since_when_until_when_and_how_to_wake_it() -> None:
    life = Life(NIGHTS)
    life.at(EVENING)
    said = sentence(server({"sleep": NIGHTS}), SleepStatus.model_validate(life.status["sleep"]))
    assert "since 2026-01-05T20:00Z" in said
    assert "It wakes at 2026-01-06T07:00Z." in said
    assert "`kubectl tracking wake mlflow -n team-a`" in said
    assert "tracking-operator.dev/wake" in said
