"""What a team tries with objects of Kubernetes: those of others, and fields of its own that are not its to set."""

import json
from functools import partial
from typing import Any, Final

from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    FORCE_ORPHAN_ANNOTATION,
    MANAGED_BY_LABEL,
    SERVER_LABEL,
)
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLASS
from tracking_operator.isolation.attempts import Area, Attempt, Book, By, CannotTryError, Refused
from tracking_operator.isolation.by_api.requests import Acts, add_requests
from tracking_operator.isolation.by_api.scene import ROLE_BINDING, ApiScene
from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    LEASE,
    NAMESPACE,
    POD,
    SECRET,
    SERVICE,
    Kind,
    KubeObject,
    register,
)

BOOK: Final = Book[ApiScene](Area.KUBERNETES_OBJECTS)
NOT_PERMITTED: Final = "NotPermitted|^403|^422"
OTHERS: Final = "another team's namespace"
CLASS: Final = "the class"
OPERATOR: Final = "the operator's namespace"
OWN_SERVER: Final = "its own server"
RESOLVED: Final = "tracking-operator.dev/resolved"
POLICY: Final = register(
    Kind(
        "admissionregistration.k8s.io/v1",
        "ValidatingAdmissionPolicy",
        "validatingadmissionpolicies",
        namespaced=False,
    )
)
JSON_PATCH = list[dict[str, Any]]


def _config_map(namespace: str, name: str, **metadata: object) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "data": {"word": "mine"},
    }


@BOOK.attempt("own", "make, read and delete an object", against="its own namespace")
async def use_own(scene: ApiScene) -> str:
    """The control: the attacker is somebody."""
    name = f"{scene.mark}-own"
    await scene.tenant.create(_config_map(scene.own.namespace, name))
    await scene.tenant.delete(CONFIG_MAP, scene.own.namespace, name)
    await scene.tenant.list(TRACKING_SERVER, scene.own.namespace)
    return "did all of it"


def _acts(scene: ApiScene) -> Acts:
    """Requests that RBAC or an admission policy has to refuse, by their rows' names."""
    tenant, other, operator = scene.tenant, scene.other, scene.operator_namespace
    replace = [{"op": "add", "path": "/metadata/labels/attacked", "value": "true"}]
    to_none = [{"op": "replace", "path": "/spec/replicas", "value": 0}]
    exec_ = Kind("v1", "Pod", "pods")
    return {
        "read-secrets": lambda: tenant.list(SECRET, other.namespace),
        "read-server": lambda: tenant.get(TRACKING_SERVER, other.namespace, other.server),
        "delete-server": lambda: tenant.delete(TRACKING_SERVER, other.namespace, other.server),
        "orphan-there": lambda: tenant.json_patch(
            TRACKING_SERVER,
            other.namespace,
            other.server,
            _patch(
                [{"op": "add", "path": "/metadata/annotations", "value": {FORCE_ORPHAN_ANNOTATION: "true"}}]
            ),
        ),
        "finalizer-there": lambda: tenant.json_patch(
            TRACKING_SERVER,
            other.namespace,
            other.server,
            _patch([{"op": "remove", "path": "/metadata/finalizers"}]),
        ),
        "scale-there": lambda: tenant.json_patch(
            TRACKING_SERVER, other.namespace, other.server, _patch(to_none), subresource="scale"
        ),
        "scale-deployment-there": lambda: tenant.json_patch(
            DEPLOYMENT, other.namespace, other.server, _patch(to_none), subresource="scale"
        ),
        "write-there": lambda: tenant.create(_config_map(other.namespace, scene.mark), dry_run=True),
        "pod-there": lambda: tenant.list(exec_, other.namespace),
        "log-there": lambda: tenant.pod_log(other.namespace, "any"),
        "list-everywhere": lambda: tenant.list(SECRET),
        "usage-everywhere": lambda: tenant.list(TRACKING_SERVER),
        "operators-secrets": lambda: tenant.list(SECRET, operator),
        "operators-lease": lambda: tenant.get(LEASE, operator, "tracking-operator"),
        "operators-pod": lambda: tenant.create(_pod(operator, scene.mark), dry_run=True),
        "make-class": lambda: tenant.create(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServerClass",
                "metadata": {"name": scene.mark},
                "spec": {},
            },
            dry_run=True,
        ),
        "change-class": lambda: tenant.json_patch(
            TRACKING_SERVER_CLASS,
            None,
            scene.class_name,
            _patch([{"op": "add", "path": "/spec/permissions", "value": {"customImages": True}}]),
        ),
        "delete-policy": lambda: tenant.delete(POLICY, None, "store-kinds.tracking-operator.dev"),
        "own-namespace": lambda: tenant.json_patch(NAMESPACE, None, scene.own.namespace, _patch(replace)),
        "escalate": lambda: tenant.create(_binding(scene), dry_run=True),
        "write-status": lambda: tenant.json_patch(
            TRACKING_SERVER,
            scene.own.namespace,
            scene.own.server,
            _patch([{"op": "add", "path": "/status/url", "value": "http://mine.example.com"}]),
            subresource="status",
        ),
        "write-placement": lambda: tenant.json_patch(
            TRACKING_SERVER,
            scene.own.namespace,
            scene.own.server,
            _patch(
                [
                    {
                        "op": "add",
                        "path": "/status/placement",
                        "value": {"className": "", "host": scene.other.host},
                    }
                ]
            ),
            subresource="status",
        ),
    }


def _patch(operations: JSON_PATCH) -> Any:  # noqa: ANN401 - the client's operations are typed dictionaries
    return operations


def _pod(namespace: str, name: str) -> KubeObject:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"serviceAccountName": "tracking-operator", "containers": [{"name": "x", "image": "x"}]},
    }


def _binding(scene: ApiScene) -> KubeObject:
    return {
        "apiVersion": ROLE_BINDING.api_version,
        "kind": "RoleBinding",
        "metadata": {"name": f"{scene.mark}-escalation", "namespace": scene.own.namespace},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": "cluster-admin",
        },
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": scene.own.namespace}],
    }


REQUESTS: Final = (
    ("read-secrets", "list Secrets", OTHERS),
    ("read-server", "read its TrackingServer", OTHERS),
    ("delete-server", "delete its TrackingServer", OTHERS),
    ("orphan-there", "set force-orphan on its TrackingServer", OTHERS),
    ("finalizer-there", "take the finalizer off its TrackingServer", OTHERS),
    ("scale-there", "scale its TrackingServer to 0", OTHERS),
    ("scale-deployment-there", "scale its Deployment to 0", OTHERS),
    ("write-there", "make a ConfigMap", OTHERS),
    ("pod-there", "list pods", OTHERS),
    ("log-there", "read a pod's log", OTHERS),
    ("list-everywhere", "list Secrets of all namespaces", "all teams"),
    ("usage-everywhere", "list TrackingServers, whose status says what each holds", "all teams"),
    ("operators-secrets", "list Secrets, which hold the admins' passwords", OPERATOR),
    ("operators-lease", "read the Lease", OPERATOR),
    ("operators-pod", "run a pod as the operator's ServiceAccount", OPERATOR),
    ("make-class", "make a TrackingServerClass", CLASS),
    ("change-class", "permit itself more", CLASS),
    ("delete-policy", "delete the admission policy", CLASS),
    ("own-namespace", "label its own namespace, by which classes choose", CLASS),
    ("escalate", "bind cluster-admin to itself", "Kubernetes"),
    ("write-status", "write the status", OWN_SERVER),
    ("write-placement", "write where its data lives, into the status", OWN_SERVER),
)
HARMFUL: Final = (
    "delete-server",
    "orphan-there",
    "finalizer-there",
    "scale-there",
    "scale-deployment-there",
    "change-class",
    "delete-policy",
    "own-namespace",
    "write-status",
    "write-placement",
)


add_requests(BOOK, REQUESTS, _acts, harmful=HARMFUL)


def resolved(scene: ApiScene, **different: object) -> dict[str, str]:
    """The annotation by which earlier releases recorded where a server's data lives."""
    record = {
        "className": scene.class_name,
        "version": "3.17.2",
        "backendStore": "sqlite",
        "artifactStore": "volume",
        "path": "/",
    }
    return {RESOLVED: json.dumps(record | different)}


@BOOK.attempt(
    "resolved-at-all",
    "make a server with the annotation `resolved`",
    against="where data lives",
    refusal="^403|^422|is not for people",
)
async def annotate_resolved(scene: ApiScene) -> str:
    """The admission policy is the second layer: the first is that nobody reads it."""
    server = scene.server(scene.mark, {}, resolved(scene, host="grafana.example.com"))
    await scene.tenant.create(server, dry_run=True)
    return "the API server admits it"


@BOOK.attempt(
    "resolved-class",
    "make a server whose annotation `resolved` names the built-in class",
    against=CLASS,
    refusal="^403|^422|the class decides",
    harmless=False,
)
async def escape_the_class(scene: ApiScene) -> str:
    """The built-in class has no limits and no login."""
    server = await scene.ask_for({}, resolved(scene, className=""))
    if server.status.class_name == scene.class_name:
        raise Refused("the class decides: the annotation has no effect")
    return f"the server is of class {server.status.class_name!r}"


@BOOK.attempt(
    "resolved-database",
    "make a server whose annotation `resolved` names the other team's database and prefix",
    against="another team's data",
    refusal="^403|^422|has its own|Conflict|PrefixTaken",
    harmless=False,
)
async def claim_data(scene: ApiScene) -> str:
    """What a record claims is somebody else's."""
    record: dict[str, object] = {"backendStore": "postgres", "artifactStore": "s3"}
    host = (await scene.read(scene.own.server)).status.database
    if host is None:
        raise CannotTryError("the class has no PostgreSQL")
    record["database"] = {"host": host.host, "port": host.port, "name": scene.other.database}
    record["artifacts"] = {"bucket": scene.other.bucket, "prefix": scene.other.prefix}
    server = await scene.ask_for({}, resolved(scene, **record))
    database = server.status.database
    if database is not None and database.name == scene.other.database:
        return "the server has the other team's database"
    raise Refused("the server has its own database")


@BOOK.attempt(
    "status-at-creation",
    "make a server with a status of its own",
    against="where data lives",
    refusal="the status is dropped",
)
async def bring_a_status(scene: ApiScene) -> str:
    """The API server drops it: the status is a subresource."""
    server = scene.server(scene.mark, {}) | {
        "status": {"url": "http://mine.example.com", "className": "mine"}
    }
    created = await scene.tenant.create(server, dry_run=True)
    if not created.get("status"):
        raise Refused("the status is dropped")
    return "the status is stored"


@BOOK.attempt(
    "secret-elsewhere",
    "name a Secret of another namespace for an external database",
    against="another team's Secrets",
    refusal="^4|the namespace is dropped",
)
async def name_a_secret_elsewhere(scene: ApiScene) -> str:
    """References are names, in the server's own namespace."""
    reference = {"name": f"{scene.other.server}-database", "key": "uri", "namespace": scene.other.namespace}
    spec: KubeObject = {"backendStore": {"external": {"uriSecretRef": reference}}}
    created = await scene.tenant.create(scene.server(scene.mark, spec), dry_run=True)
    if "namespace" not in created["spec"]["backendStore"]["external"]["uriSecretRef"]:
        raise Refused("the namespace is dropped: the name is one of its own namespace")
    return "the reference is stored"


@BOOK.attempt(
    "owner-reference",
    "make a ConfigMap and a Service that name the other server as their owner, with the operator's labels",
    against="another team's server",
    refusal="^4|the other server is as it was",
    harmless=False,
)
async def pretend_to_be_a_child(scene: ApiScene) -> str:
    """The operator finds its objects by owner and namespace."""
    other = await scene.platform.get(TRACKING_SERVER, scene.other.namespace, scene.other.server)
    deployment = await scene.platform.get(DEPLOYMENT, scene.other.namespace, scene.other.server)
    if other is None or deployment is None:
        raise CannotTryError("the other server is gone")
    owner = {
        "apiVersion": API_VERSION,
        "kind": "TrackingServer",
        "name": scene.other.server,
        "uid": other["metadata"]["uid"],
        "controller": True,
    }
    labels = {MANAGED_BY_LABEL: "tracking-operator", SERVER_LABEL: scene.other.server}
    name = f"{scene.mark}-child"
    await scene.tenant.create(_config_map(scene.own.namespace, name, labels=labels, ownerReferences=[owner]))
    try:
        after = await scene.platform.get(DEPLOYMENT, scene.other.namespace, scene.other.server)
        if after is not None and after["metadata"]["generation"] == deployment["metadata"]["generation"]:
            raise Refused("the other server is as it was")
        return "the other server has changed"
    finally:
        await scene.tenant.delete(CONFIG_MAP, scene.own.namespace, name)


@BOOK.attempt(
    "foreign-child",
    "put a Service of its own where the operator would make one",
    against="what the operator owns",
    refusal="^Conflict",
    harmless=False,
)
async def take_a_childs_name(scene: ApiScene) -> str:
    """What the operator has not made, it does not take over."""
    name = "isolation-taken"
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": scene.own.namespace},
        "spec": {"ports": [{"port": 80}], "selector": {"app": "mine"}},
    }
    await scene.tenant.create(service)
    try:
        await scene.ask_for({}, name=name)
        live = await scene.tenant.get(SERVICE, scene.own.namespace, name)
        if live is not None and live["spec"]["selector"] == {"app": "mine"}:
            raise Refused("Conflict: the Service is as it was")
        return "the operator took the Service over"
    finally:
        await scene.tenant.delete(SERVICE, scene.own.namespace, name)


@BOOK.attempt(
    "identity-of-server",
    "read Secrets as the server's own ServiceAccount",
    against="its own namespace",
    by=By.USER,
    refusal="^403",
)
async def act_as_the_server(scene: ApiScene) -> str:
    """Code that runs in MLflow finds no token; with one, it could do nothing."""
    user = f"system:serviceaccount:{scene.own.namespace}:{scene.own.server}"
    async with KubeClient(scene.platform.configuration, impersonated=user) as server:
        return f"read {len(await server.list(SECRET, scene.own.namespace))} Secrets"


@BOOK.attempt(
    "no-token",
    "look for a Kubernetes token in the server's pod",
    against="Kubernetes",
    by=By.USER,
    refusal="^no token is mounted$",
)
async def find_a_token(scene: ApiScene) -> str:
    """The kubelet mounts one unless a pod says otherwise."""
    pods = await scene.tenant.list(POD, scene.own.namespace, f"{SERVER_LABEL}={scene.own.server}")
    serving = [pod for pod in pods if pod["spec"].get("automountServiceAccountToken", True)]
    if not pods:
        raise CannotTryError("the server has no pod")
    if not serving:
        raise Refused("no token is mounted")
    return "a token is mounted"


@BOOK.attempt(
    "privileged-pod",
    "run a privileged pod",
    against="the node",
    refusal="^403",
)
async def run_privileged(scene: ApiScene) -> str:
    """Pod Security is the platform's; without it no NetworkPolicy holds."""
    pod = _pod(scene.own.namespace, scene.mark)
    pod["spec"] = {
        "hostNetwork": True,
        "containers": [{"name": "x", "image": "x", "securityContext": {"privileged": True}}],
    }
    await scene.tenant.create(pod, dry_run=True)
    return "the API server admits it"


FIELDS: Final[tuple[tuple[str, str, KubeObject], ...]] = (
    ("image", "spec.image", {"image": "example.com/mine:1", "version": "3.17.2"}),
    ("version", "a version that is not offered", {"version": "9.9.9"}),
    (
        "scheduling",
        "podTemplate.nodeSelector",
        {"podTemplate": {"nodeSelector": {"kubernetes.io/os": "linux"}}},
    ),
    (
        "tolerations",
        "podTemplate.tolerations",
        {"podTemplate": {"tolerations": [{"operator": "Exists"}]}},
    ),
    (
        "priority",
        "podTemplate.priorityClassName",
        {"podTemplate": {"priorityClassName": "system-node-critical"}},
    ),
    ("env", "podTemplate.env", {"podTemplate": {"env": [{"name": "PYTHONPATH", "value": "/mine"}]}}),
    ("env-from", "podTemplate.envFrom", {"podTemplate": {"envFrom": [{"secretRef": {"name": "mine"}}]}}),
    (
        "pod-annotations",
        "podTemplate.annotations",
        {"podTemplate": {"annotations": {"sidecar.istio.io/inject": "true"}}},
    ),
    (
        "service-account",
        "serviceAccount.annotations with a role of AWS",
        {
            "serviceAccount": {
                "annotations": {"eks.amazonaws.com/role-arn": "arn:aws:iam::123456789012:role/admin"}
            }
        },
    ),
    (
        "external-database",
        "backendStore.external",
        {"backendStore": {"external": {"uriSecretRef": {"name": "mine", "key": "uri"}}}},
    ),
    ("external-bucket", "artifactStore.external", {"artifactStore": {"external": {"uri": "s3://mine/path"}}}),
    ("anonymous", "access.authentication.none", {"access": {"authentication": {"none": {}}}}),
    ("delete-policy-field", "deletionPolicy: Delete", {"deletionPolicy": "Delete"}),
)


async def _ask_for_field(scene: ApiScene, spec: KubeObject) -> str:
    await scene.ask_for(spec)
    return "the operator carries it out"


for _name, _tried, _spec in FIELDS:
    BOOK.add(
        Attempt(
            f"kubernetes-objects/{_name}",
            Area.KUBERNETES_OBJECTS,
            By.TENANT,
            "what the class does not permit",
            f"ask for {_tried}",
            f"{NOT_PERMITTED}|VersionNotOffered|InvalidSpec",
            harmless=False,
        ),
        partial(_ask_for_field, spec=_spec),
    )
