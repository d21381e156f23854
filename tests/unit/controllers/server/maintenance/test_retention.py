"""Which planned backups stay."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.maintenance import KeptBackups
from tracking_operator.controllers.server.maintenance.planned_backups import KnownBackup, planned
from tracking_operator.controllers.server.maintenance.retention import expired

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
STATES = ("complete", "failed", "under way", "going")


def a_backup(hours: int, state: str = "complete") -> KnownBackup:
    """A backup that was due so many hours after New Year."""
    return KnownBackup(
        f"b{hours}",
        "mlflow",
        BEGIN + timedelta(hours=hours),
        is_complete=state in ("complete", "going"),
        is_given_up=state == "failed",
        is_going=state == "going",
    )


def left(backups: list[KnownBackup], *, last: int, daily: int = 0, zone: str = "UTC") -> list[str]:
    of_plan = planned(backups)
    gone = {one.name for one in expired(of_plan, KeptBackups(last=last, daily=daily), ZoneInfo(zone))}
    return [one.name for one in reversed(of_plan) if one.name not in gone]


def test_the_newest_are_kept_and_the_newest_of_each_day() -> None:
    twice_a_day = [a_backup(hours) for hours in (2, 14, 26, 38, 50, 62)]
    assert left(twice_a_day, last=1) == ["b62"]
    assert left(twice_a_day, last=3) == ["b38", "b50", "b62"]
    assert left(twice_a_day, last=1, daily=2) == ["b38", "b62"]
    assert left(twice_a_day, last=2, daily=3) == ["b14", "b38", "b50", "b62"]


def test_days_are_those_of_the_zone_and_days_without_a_backup_do_not_count() -> None:
    assert left([a_backup(1), a_backup(23), a_backup(25)], last=1, daily=2) == ["b23", "b25"]
    assert left([a_backup(1), a_backup(23), a_backup(25)], last=1, daily=2, zone="Asia/Tokyo") == [
        "b1",
        "b25",
    ]
    assert left([a_backup(1), a_backup(240)], last=1, daily=2) == ["b1", "b240"]


def test_what_was_given_up_stays_until_a_newer_one_is_complete() -> None:
    assert left([a_backup(1), a_backup(2, "failed")], last=1) == ["b1", "b2"]
    assert left([a_backup(1), a_backup(2, "failed"), a_backup(3)], last=1) == ["b3"]
    assert left([a_backup(2, "failed"), a_backup(3, "failed")], last=1) == ["b2", "b3"]


def test_what_is_under_way_stays_and_counts_for_nothing() -> None:
    assert left([a_backup(1), a_backup(2), a_backup(3, "under way")], last=1) == ["b2", "b3"]


def test_what_others_have_made_is_no_matter_of_the_plan() -> None:
    others = KnownBackup("by-hand", "mlflow", is_complete=True)
    assert planned([others]) == []


BACKUPS = st.lists(st.tuples(st.integers(0, 24 * 20), st.sampled_from(STATES)), unique_by=lambda one: one[0])


@given(BACKUPS, st.integers(1, 4), st.integers(0, 5))
def test_no_more_than_is_asked_for_and_always_the_newest(
    given_ones: list[tuple[int, str]], last: int, daily: int
) -> None:
    backups = [a_backup(hours, state) for hours, state in given_ones]
    complete = [one.name for one in reversed(planned(backups)) if one.backup.is_complete]
    stays = left(backups, last=last, daily=daily)
    kept = [name for name in complete if name in stays]
    assert kept[-last:] == complete[-last:]
    assert len(kept) <= last + daily
    again = [one for one in backups if one.name in stays]
    assert left(again, last=last, daily=daily) == stays
