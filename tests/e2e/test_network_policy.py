"""Who may connect to a server's pods, and where these and the pods of Jobs may connect to: tried out, pod by pod."""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from secrets import token_hex

import pytest

from dev.database import ClusterPostgres
from dev.development_cluster import DevelopmentCluster
from dev.object_store import ClusterObjectStore
from tests.e2e.conftest import RESTRICTED
from tests.e2e.mlflow import forwarded, pods_of, wait_until_ready
from tests.e2e.small_pods import SmallPod, Target, start_pod, start_pod_with_metadata_address
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE, Team, a_class, a_team
from tests.waiting import wait_until
from tracking_operator.kube.objects import NETWORK_POLICY, POD, Kind, register

pytest_plugins = ["tests.cluster_object_store", "tests.cluster_postgres"]

NODE = register(Kind("v1", "Node", "nodes", namespaced=False))

MLFLOW, METRICS, POSTGRES, S3, HTTP = 5000, 5001, 5432, 7070, 8000
METADATA = "169.254.169.254"
CONTROLLER = {"app": "ingress-controller"}
SECONDS_TO_START = 300.0
SECONDS_TO_ENFORCE = 30.0
"""Until the node knows of a new pod or rule."""

SMALL = {"requests": {"cpu": "50m", "memory": "400Mi"}, "limits": {"memory": "1Gi"}}

TRY_TO_CONNECT = """
import json, socket, sys
found = []
for number, (host, port) in enumerate(json.loads(sys.argv[1])):
    try:
        socket.create_connection((host, port), 2).close()
        found.append(number)
    except OSError:
        pass
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Scene:
    """Two teams with a server each, and whoever else is in the cluster."""

    cluster: DevelopmentCluster
    class_name: str
    team: Team
    other: Team
    elsewhere: Team
    """The namespace of strangers."""
    clients: Mapping[str, SmallPod]
    stranger: SmallPod
    """It listens on the ports of all stores, and everybody may connect to it who may go out."""

    def servers(self, port: int = MLFLOW) -> dict[str, Target]:
        """The pods of both servers, by whose they are."""
        return {
            whose: (pods_of(team)[0]["status"]["podIP"], port)
            for whose, team in (("team", self.team), ("other", self.other))
        }


@pytest.fixture(scope="module")
def scene(
    api: KubeApi,
    deployed: None,
    cluster: DevelopmentCluster,
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
) -> Iterator[Scene]:
    """Everybody, running. One server has its stores in the cluster, the other on volumes."""
    role = token_hex(4)
    offer = {
        "postgres": cluster_postgres.class_spec(),
        "s3": cluster_object_store.class_spec() | {"bucket": f"network-{role}", "create": {}},
        "access": {
            "networkPolicy": {
                "ingressFrom": [
                    {
                        "namespaceSelector": {"matchLabels": {"role": f"ingress-{role}"}},
                        "podSelector": {"matchLabels": CONTROLLER},
                    },
                ],
                "metricsFrom": [{"namespaceSelector": {"matchLabels": {"role": f"monitoring-{role}"}}}],
            }
        },
        "defaults": {"metrics": {"enabled": True}},
    }
    with ExitStack() as stack:
        team, other = (stack.enter_context(a_team(api, **RESTRICTED)) for _ in range(2))
        ingress, monitoring = (
            stack.enter_context(a_team(api, role=f"{one}-{role}")) for one in ("ingress", "monitoring")
        )
        elsewhere = stack.enter_context(a_team(api))
        class_name = stack.enter_context(a_class(api, offer))
        on_volumes: dict[str, object] = {"backendStore": {"sqlite": {}}, "artifactStore": {"volume": {}}}
        team.apply({"className": class_name, "resources": SMALL})
        other.apply({"className": class_name, "resources": SMALL} | on_volumes)
        in_operators_namespace = Team(api, OPERATOR_NAMESPACE)
        making = {
            "team": start_pod(cluster, team, "client"),
            "other": start_pod(cluster, other, "client"),
            "ingress controller": start_pod(cluster, ingress, "controller", labels=CONTROLLER),
            "beside the ingress controller": start_pod(cluster, ingress, "beside"),
            "monitoring": start_pod(cluster, monitoring, "prometheus"),
            "in the operator's namespace": start_pod(cluster, in_operators_namespace, f"beside-{role}"),
            "stranger": start_pod(cluster, elsewhere, "client"),
        }
        stack.callback(api.delete, POD, OPERATOR_NAMESPACE, f"beside-{role}")
        listener = start_pod(cluster, elsewhere, "listener", ports=(MLFLOW, METRICS, POSTGRES, S3, HTTP))
        clients = {who: pod.running() for who, pod in making.items()}
        stranger = listener.running()
        wait_until_ready(team, seconds=SECONDS_TO_START)
        wait_until_ready(other, seconds=SECONDS_TO_START)
        yield Scene(cluster, class_name, team, other, elsewhere, clients, stranger)


@pytest.fixture(scope="module")
def metadata_service(scene: Scene) -> Iterator[SmallPod]:
    """What listens where clouds hand out the credentials of a node."""
    ports = (80, POSTGRES, 443)
    started = start_pod_with_metadata_address(scene.cluster, scene.elsewhere, "metadata", METADATA, ports)
    yield started.running()
    scene.elsewhere.api.delete(POD, scene.elsewhere.namespace, "metadata")
    scene.elsewhere.wait_until_gone(POD, "metadata")


BOTH = {"team", "other"}
LET_IN: dict[int, dict[str, set[str]]] = {
    MLFLOW: {"team": {"team"}, "other": {"other"}, "ingress controller": BOTH},
    METRICS: {"monitoring": BOTH},
}
"""Who gets to which port of whose server; everybody else to none."""


@pytest.mark.parametrize("port", LET_IN)
def test_a_server_is_reached_by_exactly_those_whom_its_namespace_and_class_let_in(
    port: int, scene: Scene
) -> None:
    servers, control = scene.servers(port), (scene.stranger.address, port)
    expected: dict[str, set[str]] = {who: LET_IN[port].get(who, set()) for who in scene.clients}

    def found() -> dict[str, set[str]]:
        answers = {}
        for who, client in scene.clients.items():
            reached = client.reaches([*servers.values(), control])
            assert control in reached, f"{who} reaches nothing at all"
            answers[who] = {whose for whose, target in servers.items() if target in reached}
        return answers

    wait_until(lambda: found() == expected, SECONDS_TO_ENFORCE, lambda: f"{expected}; it is {found()}")


def test_the_service_of_a_server_is_no_way_around_its_policy(scene: Scene) -> None:
    service = (f"mlflow.{scene.team.namespace}.svc", 80)
    assert scene.clients["team"].reaches([service])
    assert not scene.clients["other"].reaches([service])
    assert not scene.clients["stranger"].reaches([service])


def test_probes_of_the_kubelet_and_a_port_forward_get_in(scene: Scene, cluster: DevelopmentCluster) -> None:
    (pod,) = pods_of(scene.team)
    assert pod["status"]["containerStatuses"][0]["ready"]
    with forwarded(cluster, scene.team) as tracking:
        assert tracking.answer("GET", "/health").status == 200


def test_a_server_connects_to_its_stores_and_to_nothing_else(
    scene: Scene,
    api: KubeApi,
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
    metadata_service: SmallPod,
) -> None:
    database = (f"postgres.{cluster_postgres.namespace}.svc", POSTGRES)
    bucket = (f"s3.{cluster_object_store.namespace}.svc", S3)
    outside = [
        *((scene.stranger.address, port) for port in (POSTGRES, S3, HTTP)),
        ("kubernetes.default.svc", 443),
        (METADATA, 80),
        (METADATA, POSTGRES),
        (node_address(api), 10250),
    ]
    everything = [database, bucket, *outside]
    assert scene.clients["stranger"].reaches(everything) == set(everything)
    servers = scene.servers()

    found = reached_from_server(scene, scene.team, [*everything, servers["other"]])
    assert found == {database, bucket}
    found = reached_from_server(scene, scene.other, [*everything, servers["team"]])
    assert found == set(), "its stores are on volumes"


@pytest.mark.parametrize(
    ("component", "stores"),
    [("migration", {POSTGRES}), ("artifact-check", {S3}), ("artifact-deletion", {S3})],
)
def test_a_job_connects_to_the_store_that_it_works_on_and_nobody_to_it(
    component: str,
    stores: set[int],
    scene: Scene,
    cluster_postgres: ClusterPostgres,
    cluster_object_store: ClusterObjectStore,
) -> None:
    job = start_pod(
        scene.cluster, scene.team, f"like-{component}", labels=labels_of("mlflow", component), ports=[HTTP]
    ).running()
    targets = {
        (f"postgres.{cluster_postgres.namespace}.svc", POSTGRES),
        (f"s3.{cluster_object_store.namespace}.svc", S3),
        (scene.stranger.address, POSTGRES),
        (scene.stranger.address, S3),
        (METADATA, 80),
    }
    expected = {target for target in targets if target[0].endswith(".svc") and target[1] in stores}

    wait_until(
        lambda: job.reaches(targets) == expected,
        SECONDS_TO_ENFORCE,
        lambda: f"{expected}; {job.reaches(targets)}",
    )
    for who in ("team", "ingress controller", "stranger"):
        assert not scene.clients[who].reaches([(job.address, HTTP)]), who


def test_an_external_database_is_anywhere_but_where_nodes_get_their_credentials(
    scene: Scene, metadata_service: SmallPod
) -> None:
    team = scene.team
    uri = f"postgresql+psycopg2://me:secret@{scene.stranger.address}:{POSTGRES}/mlflow"
    team.api.create(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "external", "namespace": team.namespace},
            "stringData": {"uri": uri},
        }
    )
    database = {"external": {"uriSecretRef": {"name": "external", "key": "uri"}}}
    spec = {"className": scene.class_name, "suspend": True, "backendStore": database}
    team.apply(spec | {"artifactStore": {"volume": {}}}, "external")
    team.wait_for(NETWORK_POLICY, "external")
    pod = start_pod(scene.cluster, team, "like-external", labels=labels_of("external", "server")).running()
    targets = {
        (scene.stranger.address, POSTGRES),
        (scene.stranger.address, S3),
        (METADATA, POSTGRES),
        (METADATA, 80),
    }
    expected = {(scene.stranger.address, POSTGRES)}

    wait_until(
        lambda: pod.reaches(targets) == expected,
        SECONDS_TO_ENFORCE,
        lambda: f"{expected}; {pod.reaches(targets)}",
    )


def test_a_team_lets_somebody_in_and_shuts_the_door_again(scene: Scene) -> None:
    stranger, server = scene.clients["stranger"], scene.servers()["other"]
    peer = {
        "namespaceSelector": {
            "matchLabels": {"kubernetes.io/metadata.name": scene.elsewhere.namespace},
        }
    }
    assert not stranger.reaches([server])

    scene.other.patch_server({"spec": {"networkPolicy": {"from": [peer]}}})
    wait_until(lambda: stranger.reaches([server]), SECONDS_TO_ENFORCE, "the stranger is let in")
    scene.other.patch_server({"spec": {"networkPolicy": None}})
    wait_until(lambda: not stranger.reaches([server]), SECONDS_TO_ENFORCE, "the stranger is kept out")


def reached_from_server(scene: Scene, team: Team, targets: list[Target]) -> set[Target]:
    """What the pod of a team's server connects to."""
    words = ("exec", "deployment/mlflow", "--namespace", team.namespace, "--container", "mlflow")
    printed = scene.cluster.kubectl(*words, "--", "python", "-c", TRY_TO_CONNECT, json.dumps(targets))
    return {targets[number] for number in json.loads(printed)}


def labels_of(server: str, component: str) -> dict[str, str]:
    """What the pods of a server carry, as far as policies look at it."""
    return {"tracking-operator.dev/tracking-server": server, "app.kubernetes.io/component": component}


def node_address(api: KubeApi) -> str:
    """Where the kubelet listens."""
    (node, *_) = api.list(NODE)
    return str(next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP"))
