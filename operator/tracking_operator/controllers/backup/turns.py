"""Whose turn it is on a PostgreSQL: so many backups at a time, so that many that are due at once do not stop those who work there."""

from datetime import datetime
from typing import Final

from tracking_operator.api.labels_and_annotations import COMPONENT_LABEL
from tracking_operator.api.placement import Placement
from tracking_operator.api.tracking_server_backup import TrackingServerBackup
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_BACKUP
from tracking_operator.controllers.server.spec.inputs import readable_server
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import JOB, KubeObject, namespace_of
from tracking_operator.resources.labels import BACKUP_COMPONENT, TRIAL_COMPONENT

AT_A_TIME: Final = 4
"""How many backups are taken of databases of one PostgreSQL at the same time."""
OF_A_NAMESPACE: Final = 2
"""How many of them may be one namespace's."""
SECONDS_OF_A_TURN: Final = 3600.0
"""One that takes longer goes on and does not count any more: nobody keeps others waiting for good."""


def has_turn(backup: TrackingServerBackup, placement: Placement, cache: ObjectCache, now: datetime) -> bool:
    """Whether the backup may begin now. Nothing a team writes counts for more than its namespace's share."""
    places = [
        namespace_of(job)
        for job in cache.list(JOB)
        if _counts(job, now) and _postgres_of(job, cache) == _postgres(placement)
    ]
    return len(places) < AT_A_TIME and places.count(backup.metadata.namespace) < OF_A_NAMESPACE


def _counts(job: KubeObject, now: datetime) -> bool:
    metadata = job["metadata"]
    if (metadata.get("labels") or {}).get(COMPONENT_LABEL) not in (BACKUP_COMPONENT, TRIAL_COMPONENT):
        return False
    ended = {
        one["type"] for one in (job.get("status") or {}).get("conditions") or () if one["status"] == "True"
    }
    begun = metadata.get("creationTimestamp")
    is_young = begun is None or (now - datetime.fromisoformat(begun)).total_seconds() < SECONDS_OF_A_TURN
    return is_young and not ended & {"Complete", "Failed"}


def _postgres_of(job: KubeObject, cache: ObjectCache) -> tuple[str, int] | None:
    """Where the database is that a Job copies; None: it is no Job of a backup that there is."""
    for owner in job["metadata"].get("ownerReferences") or ():
        backup = cache.get(TRACKING_SERVER_BACKUP, namespace_of(job), owner["name"])
        if backup is None or backup["metadata"].get("uid") != owner["uid"]:
            continue
        live = cache.get(TRACKING_SERVER, namespace_of(job), backup["spec"]["serverRef"]["name"])
        server = readable_server(live) if live else None
        if server and server.status.placement:
            return _postgres(server.status.placement)
    return None


def _postgres(placement: Placement) -> tuple[str, int] | None:
    database = placement.database
    return (database.host, database.port) if database else None
