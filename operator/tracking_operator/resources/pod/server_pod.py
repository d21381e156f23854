"""The pod of a server: what checks the store first, what serves, and with what it may touch."""

from collections.abc import Mapping, Sequence

from tracking_operator.api.labels_and_annotations import GROUP, METRICS_LABEL
from tracking_operator.naming import CONTAINER_PORT, METRICS_PORT, MLFLOW_PORT, service_host_names
from tracking_operator.pod_tools.programs import (
    CHECK_ARTIFACT_STORE,
    CHECK_BACKEND_STORE,
    CHECK_IDENTITY_PROVIDER,
    LAST_REQUEST_VARIABLE,
    METRICS_PORT_VARIABLE,
    START_SERVER,
)
from tracking_operator.resources.labels import SERVER_COMPONENT, owned_labels
from tracking_operator.resources.pod.environment import Environment
from tracking_operator.resources.pod.login_proxy import (
    CHECK_PROVIDER_CONTAINER,
    check_arguments,
    mlflow_mount,
    proxy_container,
    proxy_mounts,
    sign_on_settings,
)
from tracking_operator.resources.pod.pools import POOL_SIZE_VARIABLE
from tracking_operator.resources.pod.scheduling import default_spread, scheduling
from tracking_operator.resources.pod.start_time import seconds_to_start
from tracking_operator.resources.pod.tools import TOOLS_PATH, TOOLS_VOLUME, tools_volume
from tracking_operator.resources.server_model import KubeObject, ServerModel
from tracking_operator.resources.stores.interface import StoreMount
from tracking_operator.stores.postgres.pool import UNBOUNDED

SERVER_CONTAINER = "mlflow"
CHECK_CONTAINER = "check-backend-store"
CHECK_ARTIFACTS_CONTAINER = "check-artifact-store"

LOGIN_CREDENTIALS = "/etc/mlflow/login"
ENCRYPTION_CREDENTIALS = "/etc/mlflow/encryption"
SCRATCH = "/tmp"  # noqa: S108 - an emptyDir of the pod's own

CREDENTIALS_DIGEST_ANNOTATION = f"{GROUP}/credentials-digest"

USER_ID = 10001
TERMINATION_GRACE_SECONDS = 30
ENDPOINT_REMOVAL_SECONDS = 5
"""How long a stopping pod of a rolling update goes on serving, until every node has seen that it leaves."""

LOGIN_OPTION = "--app-name=basic-auth"
STATIC_PREFIX = "--static-prefix="
ALLOWED_HOSTS = "--allowed-hosts="
EXPOSE_METRICS = f"--expose-prometheus={SCRATCH}/metrics"

UVICORN_OPTIONS = "--timeout-graceful-shutdown 20 --timeout-keep-alive 75 --no-access-log"
"""Without the first, a pod waits for ever for open requests; without the second, load balancers that keep
connections for 60 s meet closed ones; without the third, probes fill the log."""

UVICORN_OPTIONS_BEHIND_PROXY = f"{UVICORN_OPTIONS} --h11-max-incomplete-event-size {64 * 2**10}"
"""A token lists all groups of whoever asks: with a few hundred, a request's headers are more than the usual 16 KiB."""

SERVER_ENVIRONMENT = {
    # A server with the job runner on can be made to run code (CVE-2026-0545), and needs 170 MiB more.
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "GIT_PYTHON_REFRESH": "quiet",
    "HOME": SCRATCH,
    "TMPDIR": SCRATCH,
}


def build_pod_template(server: ServerModel) -> KubeObject:
    """Build a pod that the ``restricted`` Pod Security Standard admits."""
    return {
        "metadata": _server_metadata(server),
        "spec": {
            **pod_settings(server),
            **_default_spread(server),
            "initContainers": [*_check_containers(server), *_login_containers(server)],
            "containers": [_server_container(server)],
            "volumes": _volumes([*_mounts(server), *_login_mounts(server)]),
        },
    }


def _server_metadata(server: ServerModel) -> KubeObject:
    metadata = pod_metadata(server, SERVER_COMPONENT)
    if not server.has_metrics:
        return metadata
    return metadata | {"labels": metadata["labels"] | {METRICS_LABEL: "true"}}


def _default_spread(server: ServerModel) -> KubeObject:
    spread = default_spread(server)
    return {"topologySpreadConstraints": spread} if spread else {}


def pod_metadata(server: ServerModel, component: str) -> KubeObject:
    """Labels and annotations of a pod: the team's, and ours, by which it is recognised."""
    tenant = server.pod_template
    return {
        "labels": dict(tenant.labels) | owned_labels(server.name, component, server.version),
        "annotations": dict(tenant.annotations) | credentials_annotation(server),
    }


def credentials_annotation(server: ServerModel) -> dict[str, str]:
    """What changes the pods' template whenever a Secret changes that they read only when they start."""
    return {CREDENTIALS_DIGEST_ANNOTATION: server.credentials_digest} if server.credentials_digest else {}


def pod_settings(server: ServerModel) -> KubeObject:
    """What all pods of a server have in common: as whom and where they run."""
    return {
        "serviceAccountName": server.names.workload,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": TERMINATION_GRACE_SECONDS,
        "hostNetwork": False,
        "hostPID": False,
        "hostIPC": False,
        "securityContext": _pod_security(server),
        **scheduling(server),
    }


def backend_store_container(
    server: ServerModel, name: str, program: str, variables: Mapping[str, str] | None = None
) -> KubeObject:
    """A container that runs one of our programs on the backend store, and can reach nothing else."""
    environment = _environment(server, _backend_store_environment(server) | dict(variables or {}))
    arguments = server.backend_store.pod_parts().program_arguments
    login = ["--login"] if server.login else []
    return {
        "name": name,
        "image": server.image,
        "command": environment.command(program, *arguments, f"--version={server.version}", *login),
        "env": environment.variables(),
        "resources": server.resources.as_kubernetes(),
        "securityContext": _container_security(),
        "volumeMounts": _volume_mounts(_backend_store_mounts(server)),
    }


def backend_store_volumes(server: ServerModel) -> list[KubeObject]:
    """The volumes that such a container mounts."""
    return _volumes(_backend_store_mounts(server))


def artifact_store_container(
    server: ServerModel, name: str, program: str, arguments: Sequence[str]
) -> KubeObject:
    """A container that runs one of our programs on the artifact store with the server's identity, and reaches nothing else.

    It gets the plain variables of the team, such as those of a proxy. What comes from other objects it does not: these
    may be gone before the server is.
    """
    plain = [variable for variable in server.pod_template.env if not variable.value_from]
    environment = Environment(
        server, dict(server.artifact_store.pod_parts().variables) | SERVER_ENVIRONMENT, plain
    )
    return {
        "name": name,
        "image": server.image,
        "command": environment.command(program, *arguments),
        "env": environment.variables(),
        "resources": server.resources.as_kubernetes(),
        "securityContext": _container_security(),
        "volumeMounts": _volume_mounts(_artifact_store_mounts(server)),
    }


def artifact_store_volumes(server: ServerModel) -> list[KubeObject]:
    """The volumes that such a container mounts."""
    return _volumes(_artifact_store_mounts(server))


def both_stores_container(
    server: ServerModel, name: str, program: str, arguments: Sequence[str], *mounts: StoreMount
) -> KubeObject:
    """A container that runs one of our programs on both stores, with the server's own login and identity, and what it mounts besides."""
    backend, artifacts = server.backend_store.pod_parts(), server.artifact_store.pod_parts()
    ours = _backend_store_environment(server) | dict(backend.migration_variables) | dict(artifacts.variables)
    plain = [variable for variable in server.pod_template.env if not variable.value_from]
    environment = Environment(server, ours, plain)
    command = (*backend.program_arguments, f"--version={server.version}", *arguments)
    return {
        "name": name,
        "image": server.image,
        "command": environment.command(program, *command),
        "env": environment.variables(),
        "resources": server.resources.as_kubernetes(),
        "securityContext": _container_security(),
        "volumeMounts": _volume_mounts(_both_stores_mounts(server, *mounts)),
    }


def both_stores_volumes(server: ServerModel, *mounts: StoreMount) -> list[KubeObject]:
    """The volumes that such a container mounts."""
    return _volumes(_both_stores_mounts(server, *mounts))


def _both_stores_mounts(server: ServerModel, *mounts: StoreMount) -> list[StoreMount]:
    return [*server.backend_store.pod_parts().mounts, *_artifact_store_mounts(server), *mounts]


def server_arguments(server: ServerModel) -> list[str]:
    """The arguments of ``mlflow server``."""
    host, port = "0.0.0.0", CONTAINER_PORT  # noqa: S104 - NetworkPolicies say who may connect
    if server.single_sign_on:
        host, port = "127.0.0.1", MLFLOW_PORT
    arguments = ["server", f"--host={host}", f"--port={port}", f"--workers={server.workers}"]
    arguments += server.backend_store.pod_parts().server_arguments
    arguments += _artifact_arguments(server)
    if server.login:
        arguments.append(LOGIN_OPTION)
    if prefix := server.access.wanted.prefix:
        arguments.append(f"{STATIC_PREFIX}{prefix}")
    arguments.append(f"{ALLOWED_HOSTS}{','.join(allowed_hosts(server))}")
    arguments.append(f"--cors-allowed-origins={','.join(allowed_origins(server))}")
    options = UVICORN_OPTIONS_BEHIND_PROXY if server.single_sign_on else UVICORN_OPTIONS
    arguments.append(f"--uvicorn-opts={options}")
    if server.has_metrics:
        arguments.append(EXPOSE_METRICS)
    return arguments


def asks_for_login(deployment: KubeObject | None) -> bool:
    """Whether the pods of a live Deployment let in only those who log in."""
    spec = ((deployment or {}).get("spec") or {}).get("template", {}).get("spec") or {}
    containers = [one for one in spec.get("containers", ()) if one["name"] == SERVER_CONTAINER]
    return any(LOGIN_OPTION in one.get("args", ()) for one in containers)


def public_names(server: ServerModel) -> list[str]:
    """Every name under which the server is reached, inside the cluster and outside."""
    names = service_host_names(server.names.workload, server.namespace, server.cluster_domain)
    return names + [host for host in server.access.hosts if host not in names]


def allowed_hosts(server: ServerModel) -> list[str]:
    """Every Host header that MLflow must answer; with any other, API and UI say 403 while /health stays 200.

    MLflow compares the whole header, port included, and drops its own defaults once a list is given
    (mlflow/server/security_utils.py, 3.17.2). A port-forward may listen on any port of the user's machine.
    """
    names = list(dict.fromkeys([*public_names(server), "localhost", "127.0.0.1"]))
    # An entry with a star is matched by fnmatch, to which an opening bracket is special.
    own = [entry for name in names for entry in (name, f"{name}:*")] + ["[::1]", "[[]::1]:*"]
    return own + sorted(set(server.access.extra_hosts).difference(own))


def allowed_origins(server: ServerModel) -> list[str]:
    """Every Origin header that a browser may send; it does so even when page and API share one address."""
    own = [
        f"{scheme}://{name}{port}"
        for name in public_names(server)
        for scheme in ("http", "https")
        for port in ("", ":*")
    ]
    return own + sorted(set(server.access.extra_origins).difference(own))


def _artifact_arguments(server: ServerModel) -> list[str]:
    place = server.artifact_store.pod_parts().place
    if server.proxied:
        return ["--serve-artifacts", f"--artifacts-destination={place}"]
    return ["--no-serve-artifacts", f"--default-artifact-root={place}"]


def _check_containers(server: ServerModel) -> list[KubeObject]:
    """What looks at the stores before each start; a prefix of the server's own is tried out by a Job instead."""
    checks = [backend_store_container(server, CHECK_CONTAINER, CHECK_BACKEND_STORE)]
    if arguments := server.artifact_store.pod_parts().check_arguments:
        checks.append(_artifact_check_container(server, arguments))
    return checks


def _login_containers(server: ServerModel) -> list[KubeObject]:
    """What stands before MLflow where people log in at an identity provider: a look at that, and the proxy."""
    if server.single_sign_on is None:
        return []
    arguments = check_arguments(server.single_sign_on)
    environment = Environment(server, SERVER_ENVIRONMENT)
    check = {
        "name": CHECK_PROVIDER_CONTAINER,
        "image": server.image,
        "command": environment.command(CHECK_IDENTITY_PROVIDER, *arguments),
        "env": environment.variables(),
        "resources": server.resources.as_kubernetes(),
        "securityContext": _container_security(),
        "volumeMounts": _volume_mounts(proxy_mounts(server, server.single_sign_on)),
    }
    return [check, proxy_container(server, server.single_sign_on, _container_security())]


def _login_mounts(server: ServerModel) -> list[StoreMount]:
    """What the proxy mounts, and MLflow does not."""
    return proxy_mounts(server, server.single_sign_on) if server.single_sign_on else []


def _artifact_check_container(server: ServerModel, arguments: Sequence[str]) -> KubeObject:
    container = artifact_store_container(
        server,
        CHECK_ARTIFACTS_CONTAINER,
        CHECK_ARTIFACT_STORE,
        arguments,
    )
    # All that MLflow itself would find: a team may name its endpoint or its keys there.
    variables = dict(server.artifact_store.pod_parts().variables)
    environment = _environment(server, variables | _backend_store_environment(server))
    return container | {
        "command": environment.command(CHECK_ARTIFACT_STORE, *arguments),
        "env": environment.variables(),
        "envFrom": _sources_of_team(server),
    }


def _server_container(server: ServerModel) -> KubeObject:
    environment = _environment(
        server,
        _pool_environment(server)
        | _login_environment(server)
        | _metrics_environment(server)
        | _idleness_environment(server)
        | dict(server.artifact_store.pod_parts().variables)
        | _backend_store_environment(server),
    )
    container: KubeObject = {
        "name": SERVER_CONTAINER,
        "image": server.image,
        "command": environment.command(START_SERVER),
        "args": server_arguments(server),
        **({"ports": ports} if (ports := _container_ports(server)) else {}),
        "env": environment.variables(),
        "envFrom": _sources_of_team(server),
        "resources": server.resources.as_kubernetes(),
        "startupProbe": _probe(server, period=1, failures=seconds_to_start(server), timeout=2),
        "readinessProbe": _probe(server, period=5, failures=3, timeout=5),
        "livenessProbe": _probe(server, period=10, failures=6, timeout=10),
        "securityContext": _container_security(),
        "volumeMounts": _volume_mounts(_mounts(server)),
    }
    if not server.is_bound_to_one_pod:
        container["lifecycle"] = {"preStop": {"sleep": {"seconds": ENDPOINT_REMOVAL_SECONDS}}}
    return container


def _container_ports(server: ServerModel) -> list[KubeObject]:
    # Where there is a proxy, the port is the proxy's.
    http = {} if server.single_sign_on else {"http": CONTAINER_PORT}
    ports = http | ({"metrics": METRICS_PORT} if server.has_metrics else {})
    return [{"name": name, "containerPort": port, "protocol": "TCP"} for name, port in ports.items()]


def _probe(server: ServerModel, *, period: int, failures: int, timeout: int) -> KubeObject:
    # Where there is a proxy, nobody but that reaches MLflow, and a name is only looked for among the container's own ports.
    port = CONTAINER_PORT if server.single_sign_on else "http"
    # /health does not ask the database: a blip there must not take every pod out of the Service at once.
    return {
        "httpGet": {"path": f"{server.access.wanted.prefix}/health", "port": port, "scheme": "HTTP"},
        "periodSeconds": period,
        "failureThreshold": failures,
        "timeoutSeconds": timeout,
        "successThreshold": 1,
    }


def _environment(server: ServerModel, ours: Mapping[str, str]) -> Environment:
    return Environment(server, ours, server.pod_template.env)


def _backend_store_environment(server: ServerModel) -> dict[str, str]:
    return SERVER_ENVIRONMENT | dict(server.backend_store.pod_parts().variables)


def _sources_of_team(server: ServerModel) -> list[KubeObject]:
    return [source.as_kubernetes() for source in server.pod_template.env_from]


def _pool_environment(server: ServerModel) -> dict[str, str]:
    """How many connections MLflow keeps in each pod, however many pods there are."""
    limit = server.backend_store.pod_parts().connection_limit
    if limit is None:
        return {}
    return {
        POOL_SIZE_VARIABLE: str(server.pool_size(limit)),
        "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW": str(UNBOUNDED),
    }


def _login_environment(server: ServerModel) -> dict[str, str]:
    if server.login is None:
        return {}
    permission = {"TRACKING_OPERATOR_DEFAULT_PERMISSION": server.login.default_permission.value}
    return permission | (sign_on_settings(server.single_sign_on) if server.single_sign_on else {})


def _metrics_environment(server: ServerModel) -> dict[str, str]:
    return {METRICS_PORT_VARIABLE: str(METRICS_PORT)} if server.has_metrics else {}


def _idleness_environment(server: ServerModel) -> dict[str, str]:
    return {LAST_REQUEST_VARIABLE: f"{SCRATCH}/last-request"} if server.notes_requests else {}


def _pod_security(server: ServerModel) -> KubeObject:
    ids = ("runAsUser", "runAsGroup", "fsGroup") if server.sets_user_ids else ()
    return {
        "runAsNonRoot": True,
        **dict.fromkeys(ids, USER_ID),
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _container_security() -> KubeObject:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _mounts(server: ServerModel) -> list[StoreMount]:
    """All that the pods that serve mount, beside what every pod of the server has."""
    proxy = [mlflow_mount(server)] if server.single_sign_on else []
    return [*_backend_store_mounts(server), *_artifact_store_mounts(server), *proxy]


def _backend_store_mounts(server: ServerModel) -> list[StoreMount]:
    """The tables of the login, and what is encrypted, are in the backend store, and nothing else has to do with it."""
    login = [_secret("login-credentials", LOGIN_CREDENTIALS, server.names.auth)] if server.login else []
    encryption = _secret("encryption-credentials", ENCRYPTION_CREDENTIALS, server.names.encryption)
    return [*server.backend_store.pod_parts().mounts, *login, encryption]


def _artifact_store_mounts(server: ServerModel) -> list[StoreMount]:
    return list(server.artifact_store.pod_parts().mounts)


def _secret(volume: str, path: str, secret: str) -> StoreMount:
    return StoreMount(volume, path, {"secret": {"secretName": secret}})


def _volumes(mounts: Sequence[StoreMount]) -> list[KubeObject]:
    of_every_pod = [tools_volume(), {"name": "scratch", "emptyDir": {}}]
    return of_every_pod + [{"name": one.volume, **one.source} for one in mounts]


def _volume_mounts(mounts: Sequence[StoreMount]) -> list[KubeObject]:
    of_every_pod = [_mount(TOOLS_VOLUME, TOOLS_PATH), _mount("scratch", SCRATCH, read_only=False)]
    return of_every_pod + [_mount(one.volume, one.path, read_only=one.read_only) for one in mounts]


def _mount(volume: str, path: str, *, read_only: bool = True) -> KubeObject:
    return {"name": volume, "mountPath": path, "readOnly": read_only}
