"""The development cluster does what a real one does, and leaves nothing on the machine."""

import json
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest
import yaml

from dev.audit import AuditLog
from dev.development_cluster import DevelopmentCluster
from dev.local_cluster import teardown
from dev.local_cluster.cluster import LocalCluster
from dev.local_cluster.layout import Layout
from dev.local_cluster.network import in_namespace
from dev.local_cluster.processes import recorded_processes
from dev.local_cluster.slots import recorded_layout
from tests.waiting import patient, wait_until

IMAGE = "tracking-operator/busybox:1"
SECONDS_TO_RUN = 90
PORT = 8000
SHARED_FOLDERS = [
    Path(folder)
    for folder in (
        "/run/netns",
        "/run/containerd/runc/k8s.io",
        "/run/tracking-operator-dev",
        "/var/lib/cni/results",
        "/var/lib/tracking-operator-dev/clusters",
        "/var/log/containers",
    )
]


def pod(
    name: str, script: str, *, labels: dict[str, str] | None = None, claim: str = ""
) -> dict[str, object]:
    """A pod that the `restricted` standard admits and that runs a shell script."""
    container: dict[str, object] = {
        "name": "main",
        "image": IMAGE,
        "imagePullPolicy": "IfNotPresent",
        "command": ["sh", "-c", script],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    spec: dict[str, object] = {
        "terminationGracePeriodSeconds": 0,
        "restartPolicy": "Never",
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [container],
    }
    if claim:
        container["volumeMounts"] = [{"name": "data", "mountPath": "/data"}]
        spec["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}]
    metadata = {"name": name, "labels": labels or {"app": name}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


def web_server(name: str) -> dict[str, object]:
    """A pod that says hello over HTTP."""
    folder = "/tmp/web"  # noqa: S108 (in the pod)
    script = f"mkdir {folder}; echo hello >{folder}/index.html; echo serving; httpd -f -p {PORT} -h {folder}"
    return pod(name, script)


def service(name: str) -> dict[str, object]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name},
        "spec": {"selector": {"app": name}, "ports": [{"port": 80, "targetPort": PORT}]},
    }


def volume_claim(
    name: str, size: str, storage_class: str | None = None, access_mode: str = "ReadWriteOnce"
) -> dict[str, object]:
    spec: dict[str, object] = {"accessModes": [access_mode], "resources": {"requests": {"storage": size}}}
    if storage_class:
        spec["storageClassName"] = storage_class
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": name}, "spec": spec}


def apply(cluster: DevelopmentCluster, namespace: str, *objects: dict[str, object]) -> None:
    cluster.kubectl("apply", "--namespace", namespace, "--filename=-", stdin=yaml.safe_dump_all(objects))


def wait_for_pods(cluster: DevelopmentCluster, namespace: str, *names: str) -> None:
    pods = [f"pod/{name}" for name in names]
    cluster.kubectl("wait", "-n", namespace, "--for=condition=Ready", f"--timeout={SECONDS_TO_RUN}s", *pods)


def run_in(cluster: DevelopmentCluster, namespace: str, name: str, *command: str) -> str:
    return cluster.kubectl("exec", "--namespace", namespace, name, "--", *command)


def succeeds_in(cluster: DevelopmentCluster, namespace: str, name: str, *command: str) -> bool:
    try:
        run_in(cluster, namespace, name, *command)
    except subprocess.CalledProcessError:
        return False
    return True


def get_pod(cluster: DevelopmentCluster, namespace: str, name: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = json.loads(
        cluster.kubectl("get", "pod", "--namespace", namespace, name, "--output=json")
    )
    return found


def phase(cluster: DevelopmentCluster, namespace: str, name: str) -> str:
    return get_pod(cluster, namespace, name)["status"].get("phase", "")


def get_without_proxy(url: str) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(url, timeout=patient(10)) as answer:
        return str(answer.read().decode())


def test_logs_exec_port_forward_and_names_work(
    cluster: DevelopmentCluster, restricted_namespace: str
) -> None:
    """A pod is reached by logs, exec and port-forward, and by its Service's name from another pod."""
    apply(cluster, restricted_namespace, web_server("web"), service("web"), pod("client", "sleep 3600"))
    wait_for_pods(cluster, restricted_namespace, "web", "client")

    assert cluster.kubectl("logs", "--namespace", restricted_namespace, "web") == "serving\n"
    assert run_in(cluster, restricted_namespace, "client", "id", "-u") == "10001\n"
    for host in ("web", f"web.{restricted_namespace}", f"web.{restricted_namespace}.svc.cluster.local"):
        answer = run_in(cluster, restricted_namespace, "client", "wget", "-qO-", f"http://{host}")
        assert answer == "hello\n", host
    with cluster.port_forward("service/web", 80, "--namespace", restricted_namespace) as port:
        assert get_without_proxy(f"http://127.0.0.1:{port}/") == "hello\n"


def test_nothing_leads_out_of_the_machine(cluster: DevelopmentCluster, namespace: str) -> None:
    """Pods find no name outside of the cluster, and the node has no route out."""
    apply(cluster, namespace, pod("client", "sleep 3600"))
    wait_for_pods(cluster, namespace, "client")
    assert not succeeds_in(cluster, namespace, "client", "nslookup", "example.com")
    if isinstance(cluster, LocalCluster):
        assert in_namespace(cluster.layout, "ip", "route", "show", "default") == ""


def test_a_claim_is_bound_and_written_to(cluster: DevelopmentCluster, restricted_namespace: str) -> None:
    """The default StorageClass provisions a volume that a restricted pod can write to, and another can read."""
    apply(
        cluster,
        restricted_namespace,
        volume_claim("data", "1Gi"),
        pod("writer", "echo kept >/data/note && cat /data/note", claim="data"),
    )
    wait_until(
        lambda: phase(cluster, restricted_namespace, "writer") == "Succeeded",
        SECONDS_TO_RUN,
        lambda: f"the pod wrote to its volume: {get_pod(cluster, restricted_namespace, 'writer')['status']}",
    )
    apply(cluster, restricted_namespace, pod("reader", "cat /data/note && sleep 3600", claim="data"))
    wait_for_pods(cluster, restricted_namespace, "reader")
    assert cluster.kubectl("logs", "--namespace", restricted_namespace, "reader") == "kept\n"

    cluster.kubectl("delete", "pod/reader", "pod/writer", "pvc/data", "--namespace", restricted_namespace)
    wait_until(
        lambda: not volumes_of(cluster, restricted_namespace),
        SECONDS_TO_RUN,
        lambda: f"the volume went with its claim: {volumes_of(cluster, restricted_namespace)}",
    )


def test_a_claim_that_no_folder_can_meet_is_told_why(cluster: DevelopmentCluster, namespace: str) -> None:
    claim = volume_claim("shared", "1Gi", access_mode="ReadWriteMany")
    apply(cluster, namespace, claim, pod("reader", "true", claim="shared"))
    wait_until(
        lambda: "a folder of one node is ReadWriteOnce" in events_of(cluster, namespace),
        SECONDS_TO_RUN,
        lambda: f"an Event says that it is refused: {events_of(cluster, namespace)}",
    )


def volumes_of(cluster: DevelopmentCluster, namespace: str) -> list[str]:
    """The names of the volumes of a namespace's claims."""
    volumes = json.loads(cluster.kubectl("get", "pv", "--output=json"))["items"]
    return [one["metadata"]["name"] for one in volumes if one["spec"]["claimRef"]["namespace"] == namespace]


def events_of(cluster: DevelopmentCluster, namespace: str) -> str:
    """The messages of a namespace's Events."""
    return cluster.kubectl("get", "events", "--namespace", namespace, "--output=jsonpath={.items[*].message}")


def test_a_bounded_volume_is_full_at_its_size(cluster: DevelopmentCluster, namespace: str) -> None:
    """A pod that writes 9 MiB to a volume of 8 MiB is told that no space is left."""
    with cluster.bounded_volume(f"small-{namespace}", 8) as storage_class:
        apply(
            cluster,
            namespace,
            volume_claim("small", "8Mi", storage_class),
            pod("writer", "dd if=/dev/zero of=/data/file bs=1024 count=9216 2>&1", claim="small"),
        )
        wait_until(
            lambda: phase(cluster, namespace, "writer") == "Failed",
            SECONDS_TO_RUN,
            lambda: f"the pod failed to write: {get_pod(cluster, namespace, 'writer')['status']}",
        )
        assert "No space left on device" in cluster.kubectl("logs", "--namespace", namespace, "writer")
        cluster.kubectl("delete", "pod/writer", "pvc/small", "--namespace", namespace)


def test_a_network_policy_blocks_those_whom_it_does_not_name(
    cluster: DevelopmentCluster, namespace: str
) -> None:
    """With a policy that lets in only friends, a friend is answered and a stranger is not."""
    policy: dict[str, object] = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": {"name": "friends-only"},
        "spec": {
            "podSelector": {"matchLabels": {"app": "web"}},
            "ingress": [{"from": [{"podSelector": {"matchLabels": {"app": "friend"}}}]}],
        },
    }
    sleeping = (pod("friend", "sleep 3600"), pod("stranger", "sleep 3600"))
    apply(cluster, namespace, web_server("web"), service("web"), *sleeping)
    wait_for_pods(cluster, namespace, "web", "friend", "stranger")
    ask = ("timeout", "2", "wget", "-qO-", f"http://web.{namespace}")
    assert succeeds_in(cluster, namespace, "stranger", *ask), "without a policy everybody is let in"

    apply(cluster, namespace, policy)
    wait_until(
        lambda: not succeeds_in(cluster, namespace, "stranger", *ask),
        SECONDS_TO_RUN,
        "the stranger is blocked",
    )
    assert run_in(cluster, namespace, "friend", *ask) == "hello\n"


def test_an_image_that_does_not_exist_fails_at_once(cluster: DevelopmentCluster, namespace: str) -> None:
    """The pod says soon that its image cannot be pulled; no registry is asked."""
    missing = yaml.safe_load(
        yaml.safe_dump(pod("missing", "true")).replace(IMAGE, "registry.invalid/no/such:1")
    )
    apply(cluster, namespace, missing)

    def waiting_reason() -> str:
        states = json.loads(json.dumps(get_pod(cluster, namespace, "missing")["status"])).get(
            "containerStatuses"
        )
        return str(states[0]["state"].get("waiting", {}).get("reason", "")) if states else ""

    wait_until(
        lambda: waiting_reason() in {"ErrImagePull", "ImagePullBackOff"},
        SECONDS_TO_RUN,
        "the image is refused",
    )


def test_the_audit_log_says_who_did_what(cluster: DevelopmentCluster, namespace: str) -> None:
    """A call shows up with its user, verb, resource and user agent."""
    log = AuditLog(cluster.audit_log)
    log.mark()
    cluster.kubectl("create", "configmap", "noted", "--namespace", namespace)

    def created() -> bool:
        calls = [call for call in log.calls() if call.resource == "configmaps" and call.name == "noted"]
        return any(
            call.verb == "create" and call.user_agent.startswith("kubectl") and call.user for call in calls
        )

    wait_until(created, SECONDS_TO_RUN, "the creation of the ConfigMap is in the audit log")


def test_up_again_keeps_a_running_cluster(cluster: DevelopmentCluster) -> None:
    """`create` on a cluster that runs well keeps its objects."""
    uid = ("get", "namespace", "kube-system", "--output=jsonpath={.metadata.uid}")
    before = cluster.kubectl(*uid)
    cluster.create()
    assert cluster.kubectl(*uid) == before


@pytest.fixture
def second_cluster(cluster: DevelopmentCluster) -> Iterator[LocalCluster]:
    if not isinstance(cluster, LocalCluster):
        pytest.skip("kind's clusters are Docker's business")
    second = LocalCluster(f"second-{uuid4().hex[:6]}")
    yield second
    second.delete()


def traces_of(layout: Layout, containers: set[str]) -> list[str]:
    """What on this machine bears the name of a cluster, of its network cable, or of one of its containers."""
    shown = [
        *Path("/proc/self/mountinfo").read_text().splitlines(),
        *subprocess.check_output(["ip", "-oneline", "address"], text=True).splitlines(),
        *subprocess.check_output(["ip", "-4", "route"], text=True).splitlines(),
        *subprocess.check_output(["ps", "-eo", "stat,args"], text=True).splitlines(),
        *(str(path) for path in Path("/sys/fs/cgroup").glob("**/tro-*")),
        *(str(path) for folder in SHARED_FOLDERS for path in folder.glob("*")),
    ]
    names = {layout.name, layout.host_link, *containers}
    return [line for line in shown if any(name in line for name in names) and not line.startswith("Z")]


def shim_sockets(layout: Layout) -> list[Path]:
    notes = layout.containerd_run.glob("io.containerd.runtime.v2.task/k8s.io/*/address")
    return [Path(note.read_text().removeprefix("unix://")) for note in notes]


def test_two_clusters_run_side_by_side_and_down_leaves_nothing(
    cluster: DevelopmentCluster, namespace: str, second_cluster: LocalCluster
) -> None:
    """A second cluster runs pods beside the first; after kill -9 of its programs `delete` still removes all of it."""
    second_cluster.create()
    layout = second_cluster.layout
    apply(cluster, namespace, pod("one", "sleep 3600"))
    wait_until(
        lambda: second_cluster.kubectl("get", "serviceaccount", "--output=name"),
        SECONDS_TO_RUN,
        "namespace default is complete",
    )
    apply(second_cluster, "default", volume_claim("data", "1Gi"), pod("two", "sleep 3600", claim="data"))
    wait_for_pods(cluster, namespace, "one")
    wait_for_pods(second_cluster, "default", "two")

    containers = {path.name for path in layout.containerd_run.glob("io.containerd.runtime.v2.task/k8s.io/*")}
    sockets = shim_sockets(layout)
    assert sockets
    assert len(traces_of(layout, containers)) > len(containers), "the search finds a running cluster"

    for process in recorded_processes(layout):
        if process.name in {"kubelet", "containerd", "kube-apiserver"}:
            process.signal(signal.SIGKILL)
    wait_until(second_cluster.problems, SECONDS_TO_RUN, "the cluster notices that its programs are gone")
    second_cluster.delete()

    assert teardown.leftovers(layout) == []
    assert traces_of(layout, containers) == []
    assert [socket for socket in sockets if socket.exists()] == []
    assert not second_cluster.kubeconfig_path.exists()
    assert phase(cluster, namespace, "one") == "Running", "the other cluster was not touched"


def test_up_rebuilds_a_broken_cluster(second_cluster: LocalCluster) -> None:
    """When a program has died, `create` makes a whole cluster again."""
    second_cluster.create()
    controllers = [
        one for one in recorded_processes(second_cluster.layout) if one.name == "kube-controller-manager"
    ]
    controllers[0].signal(signal.SIGKILL)
    wait_until(
        second_cluster.problems, SECONDS_TO_RUN, "the cluster notices that its controller manager is gone"
    )

    second_cluster.create()

    assert second_cluster.problems() == []
    assert "Ready" in second_cluster.kubectl("get", "nodes", "--no-headers")


def test_down_removes_a_cluster_whose_making_was_cut_off(second_cluster: LocalCluster) -> None:
    """After kill -9 of the command that makes a cluster, `delete` removes what there is of it."""
    making = subprocess.Popen(
        [sys.executable, "-m", "dev.cluster", "up", "--name", second_cluster.name],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    with making:
        wait_until(
            lambda: recorded_layout(second_cluster.name) and recorded_processes(second_cluster.layout),
            SECONDS_TO_RUN,
            "the first programs run",
        )
        making.kill()
    layout = second_cluster.layout
    assert second_cluster.problems() == [f"Cluster {second_cluster.name} was not completely made."]

    second_cluster.delete()

    assert teardown.leftovers(layout) == []
    assert traces_of(layout, set()) == []
