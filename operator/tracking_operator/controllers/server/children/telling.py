"""Which of a server's objects tell how it stands: by their names, however many others carry its label."""

from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import (
    DEPLOYMENT,
    HTTP_ROUTE,
    INGRESS,
    JOB,
    PERSISTENT_VOLUME_CLAIM,
    POD,
    KubeObjects,
)
from tracking_operator.resources.server_model import ServerModel


def telling_children(server: ServerModel, cache: ObjectCache) -> KubeObjects:
    """Return the Deployment, claims, Jobs and routes of a server that are there, and all its pods."""
    names = server.names
    jobs = (
        names.migration(server.version),
        names.check_artifacts,
        names.delete_artifacts,
        names.reset_login,
        names.restore,
        names.collect_garbage,
    )
    wanted = [
        (DEPLOYMENT, names.workload),
        *((PERSISTENT_VOLUME_CLAIM, volume.claim) for volume in server.volumes),
        *((JOB, name) for name in jobs),
        (INGRESS, names.workload),
        (HTTP_ROUTE, names.workload),
    ]
    return [
        *cache.named_children(server.namespace, server.name, wanted),
        *cache.children(server.namespace, server.name, POD),
    ]
