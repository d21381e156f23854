"""How long the operator waits for others, and how often it measures: the one place for these times.

The times of production are the defaults. Tests set them short (``TRACKING_OPERATOR_TIMINGS``), and only tests.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Timings:
    """Seconds, each."""

    until_pods_see_a_secret: float = 120.0
    """The kubelet writes a changed Secret into pods within its sync period plus its cache's age: 60 to 90 s."""
    without_a_new_session: float = 30.0
    """How long no new session of an old database login may have appeared before it goes."""
    longest_wait_for_sessions: float = 900.0
    """When an old login goes although sessions with it appear: whoever opens them then is no pod of ours."""
    until_sessions_are_idle: float = 10.0
    """When to try again to end sessions of an old login that were at work."""
    until_pods_use_new_keys: float = 120.0
    """How long the old keys of an artifact store work at least where servers proxy artifacts."""
    until_clients_use_new_keys: float = 3600.0
    """The same where clients got the keys themselves."""
    between_looks_at_old_keys: float = 10.0
    """When to see again whether the pods with old keys have gone."""
    between_measurements: float = 3600.0
    """How old what was measured of a server's stores is at least before it is measured again, at the next resync."""
    until_the_first_measurement: float = 60.0
    """How long a process has known a server at least before it measures: a start of the operator measures nobody."""
    between_looks_at_a_measurement: float = 5.0
    """When to see again whether a measurement has ended."""
    longest_jitter_of_backups: float = 600.0
    """By how much a planned backup begins later than it is due, at most: each server at another moment."""
    until_a_backup_is_late: float = 3600.0
    """How long after it was due a backup may not be complete before somebody is told."""
    between_looks_for_a_turn: float = 15.0
    """When a backup that waits for others on the same PostgreSQL looks again."""
