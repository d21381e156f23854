"""Where the pods of a server and of its Jobs run."""

from typing import Final

from tracking_operator.resources.labels import pod_selector
from tracking_operator.resources.server_model import KubeObject, ServerModel

SPREAD_OVER: Final = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
"""Where pods of one server are kept apart, if the team does not say."""


def scheduling(server: ServerModel) -> KubeObject:
    """What the team asks for, in every pod of the server."""
    tenant = server.pod_template
    wanted: KubeObject = {
        "tolerations": [toleration.as_kubernetes() for toleration in tenant.tolerations],
        "topologySpreadConstraints": [
            {"labelSelector": {"matchLabels": pod_selector(server.name)}} | rule.as_kubernetes()
            for rule in tenant.topology_spread_constraints
        ],
        "priorityClassName": tenant.priority_class_name,
        "imagePullSecrets": [secret.as_kubernetes() for secret in tenant.image_pull_secrets],
    }
    # Stated even if empty, so that an addition by hand that leaves the pods without a node is taken away again.
    stated: KubeObject = {
        "nodeSelector": dict(tenant.node_selector),
        "affinity": tenant.affinity.as_kubernetes() if tenant.affinity else None,
    }
    return stated | {field: value for field, value in wanted.items() if value}


def default_spread(server: ServerModel) -> list[KubeObject]:
    """How pods that serve are kept apart where the team does not say; empty where there is only one at a time.

    It is the same for any number of them, so that another one rolls nobody. Pods of an earlier template do not count.
    """
    if server.is_bound_to_one_pod or server.pod_template.topology_spread_constraints:
        return []
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": pod_selector(server.name)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in SPREAD_OVER
    ]
