"""The admission policy for the operator itself: what it may write, and what it may not whatever its RBAC says.

RBAC knows verbs and kinds, and neither labels nor contents: with ``create deployments`` anybody who holds the operator's
token could run a privileged pod in ``kube-system``. This ValidatingAdmissionPolicy is about the writes of one
ServiceAccount, and is evaluated by the API server, so that it holds against an operator that has been taken over.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from tracking_operator.api.crds import Schema
from tracking_operator.api.labels_and_annotations import (
    CLIENT_LABEL,
    FIELD_MANAGER,
    GROUP,
    MANAGED_BY_LABEL,
    SCHEDULED_LABEL,
    SERVER_LABEL,
    TOOLS_DIGEST_LENGTH,
    TOOLS_FILE,
    TOOLS_PREFIX,
)
from tracking_operator.api.store_kind_admission import binding_everywhere, policy_of, resource_rule

OPERATOR_POLICY_NAME: Final = f"operator-writes.{GROUP}"

OWN_NAMESPACE: Final = "tracking-operator-system"
OWN_SERVICE_ACCOUNT: Final = "tracking-operator"
"""As in manifests/base. Another installation replaces them (manifests/base/kustomization.yaml)."""

CHILDREN: Final[Mapping[str, tuple[str, ...]]] = {
    "": ("configmaps", "persistentvolumeclaims", "secrets", "serviceaccounts", "services"),
    "apps": ("deployments",),
    "batch": ("jobs",),
    "networking.k8s.io": ("ingresses", "networkpolicies"),
    "gateway.networking.k8s.io": ("httproutes",),
    "policy": ("poddisruptionbudgets",),
    "kubeflow.org": ("poddefaults",),
}
"""The kinds that servers are made of, by API group."""

ENCRYPTION: Final = "encryption"
"""What the Secret ends in that has no owner, because it is kept as long as the data that it encrypts."""

SECRETS: Final = (
    "artifacts",
    "auth",
    "backup",
    "client",
    "database",
    ENCRYPTION,
    "oidc",
    "restore",
    "trial",
    "trial-database",
)
"""What the Secrets of a server end in that the operator writes."""

VOLUMES: Final = ("configMap", "downwardAPI", "emptyDir", "persistentVolumeClaim", "projected", "secret")
"""The sources that a volume of a pod may have: those of the Pod Security Standard ``restricted`` that need no driver."""

LAUNCHER: Final = "kfp-launcher"
LAUNCHER_KEY: Final = "plugins.mlflow"
PIPELINES_SECRET: Final = "kfp-mlflow-credentials"  # noqa: S105 - the name of a Secret
"""What Kubeflow Pipelines reads in a namespace (resources/kubeflow.py)."""

REVIEWS: Final = "authorization.k8s.io"
"""At its start the operator asks what it may do. Nothing is stored of that."""


def operator_policy() -> Schema:
    """Return the policy: the operator writes what servers are made of, and nothing else."""
    user = f"'system:serviceaccount:' + '{OWN_NAMESPACE}' + ':' + '{OWN_SERVICE_ACCOUNT}'"
    # Everybody else's writes end here.
    by_the_operator = {"name": "by-the-operator", "expression": f"request.userInfo.username == {user}"}
    return policy_of(
        OPERATOR_POLICY_NAME,
        [resource_rule("*", "*", ["*"], ["*/*"])],
        conditions=[by_the_operator],
        variables=[{"name": name, "expression": text} for name, text in _variables().items()],
        validations=list(_validations()),
    )


def operator_policy_binding() -> Schema:
    """Return the binding that puts the policy in force everywhere."""
    return binding_everywhere(OPERATOR_POLICY_NAME)


def _variables() -> dict[str, str]:
    """Names for what the validations speak of. The first two are for installations to replace."""
    return {
        "ownNamespace": f"'{OWN_NAMESPACE}'",
        "isServed": "true",
        "inNamespace": "request.?namespace.orValue('')",
        "subresource": "request.?subResource.orValue('')",
        "isOurKind": f"request.resource.group == '{GROUP}'",
        "isReview": f"request.resource.group == '{REVIEWS}'",
        "isLease": "request.resource.group == 'coordination.k8s.io' && request.resource.resource == 'leases'",
        "isEvent": "request.resource.resource == 'events' && request.resource.group in ['', 'events.k8s.io']",
        "isChild": "variables.subresource == '' && ("
        + " || ".join(
            f"(request.resource.group == '{group}' && request.resource.resource in {_listed(kinds)})"
            for group, kinds in CHILDREN.items()
        )
        + ")",
        "isClaim": "request.resource.group == '' && request.resource.resource == 'persistentvolumeclaims'",
        "isSecret": "request.resource.group == '' && request.resource.resource == 'secrets'",
        # The programs for pods belong to all servers of a namespace, and their name says what is in them.
        "isTools": "request.resource.group == '' && request.resource.resource == 'configmaps' "
        f"&& request.name.matches('^{TOOLS_PREFIX}[0-9a-f]{{{TOOLS_DIGEST_LENGTH}}}$')",
        "isPlannedBackup": "variables.isOurKind && request.resource.resource == 'trackingserverbackups' "
        "&& variables.subresource == '' && ("
        f"(request.operation == 'CREATE' && ({_label('object', SCHEDULED_LABEL)}) != '') "
        f"|| (request.operation == 'DELETE' && ({_label('oldObject', SCHEDULED_LABEL)}) != ''))",
        "server": _label("object", SERVER_LABEL),
        # What a TrackingServerClient has belongs to that one, in its own namespace, and is called like it.
        "client": _label("object", CLIENT_LABEL),
        "isOfPipelines": "variables.client != '' && request.resource.group == '' && request.resource.resource == 'secrets' "
        f"&& object.metadata.name == '{PIPELINES_SECRET}'",
        "owner": "variables.client != '' ? variables.client : variables.server",
        # What encrypts data is kept as the data is, without an owner.
        "isKept": "variables.isClaim || (variables.isSecret && object != null "
        f"&& object.metadata.name == variables.server + '-{ENCRYPTION}')",
        "wasKept": "variables.isClaim || (variables.isSecret && oldObject != null "
        f"&& oldObject.metadata.name == ({_label('oldObject', SERVER_LABEL)}) + '-{ENCRYPTION}')",
        # Of what a namespace tells Kubeflow Pipelines, one key is for the operator to write.
        "isLauncher": "request.resource.group == '' && request.resource.resource == 'configmaps' "
        f"&& request.name == '{LAUNCHER}' && request.operation in ['CREATE', 'UPDATE']",
        "told": "variables.isLauncher ? object.?data.orValue({}) : {}",
        "toldBefore": "variables.isLauncher && oldObject != null ? oldObject.?data.orValue({}) : {}",
        "isService": "request.resource.group == '' && request.resource.resource == 'services'",
        "isOurs": "object == null || variables.isLauncher || (variables.isTools ? "
        f"{_has_tools('object')} : "
        f"{_has_marks('object')} && (variables.isKept || {_has_owner('object', 'variables.owner')}))",
        "wasOurs": "oldObject == null || variables.isTools || variables.isLauncher || "
        f"{_has_owner('oldObject')} || (variables.wasKept && {_has_marks('oldObject')})",
        "runsPods": "variables.isChild && object != null && request.resource.resource in ['deployments', 'jobs']",
        "pod": "variables.runsPods ? object.spec.template.spec : {}",
        "podBefore": "variables.runsPods && oldObject != null ? oldObject.spec.template.spec : {}",
        "isRestricted": f"!variables.runsPods || ({_restricted('variables.pod')})",
        "wasRestricted": f"!variables.runsPods || oldObject == null || ({_restricted('variables.podBefore')})",
    }


def _validations() -> Iterable[Schema]:
    known = "variables.isChild || variables.isOurKind || variables.isLease || variables.isEvent || variables.isReview"
    yield _rule(known, "the operator writes no objects of this kind")
    yield _rule(
        "!variables.isOurKind || variables.isPlannedBackup || (request.operation == 'UPDATE' "
        "&& (variables.subresource == 'status' "
        "|| (request.resource.resource in ['trackingservers', 'trackingserverbackups'] && variables.subresource == '' "
        "&& object.?spec == oldObject.?spec)))",
        "of TrackingServers and their backups the operator changes metadata and status, of classes the status; it makes and deletes "
        "backups that a server's plan asks for",
    )
    yield _rule(
        "!variables.isLease || variables.inNamespace == variables.ownNamespace",
        "the operator's Leases are in its own namespace",
    )
    yield _rule(
        "!variables.isEvent || object == null || (object.?source.?component.orValue("
        f"object.?reportingComponent.orValue('')) == '{FIELD_MANAGER}' "
        f"&& object.?involvedObject.?apiVersion.orValue('').startsWith('{GROUP}/'))",
        "the operator's Events are about TrackingServers and their classes",
    )
    yield _rule(
        "!variables.isChild || (!variables.inNamespace.startsWith('kube-') "
        "&& variables.inNamespace != variables.ownNamespace)",
        "the operator writes nothing in namespaces of the cluster or in its own but Leases and Events",
    )
    yield _rule(
        "!variables.isChild || object == null || variables.isServed",
        "this namespace is not served",
    )
    yield _rule(
        "!variables.isChild || variables.wasOurs",
        "the operator changes and deletes only what belongs to a server",
    )
    yield _rule(
        "!variables.isChild || variables.isOurs",
        "what the operator writes has the marks of a server, and that server as its owner, or is the archive of programs for pods",
    )
    yield _rule(
        "!variables.isChild || object == null || variables.isTools || variables.isLauncher || variables.isOfPipelines "
        "|| object.metadata.name == variables.owner "
        "|| object.metadata.name.startsWith(variables.owner + '-')",
        "what the operator writes is called like its server, or begins with that and a hyphen",
    )
    yield _rule(
        "!variables.isChild || variables.client == '' || (request.resource.group == '' "
        "&& request.resource.resource in ['configmaps', 'secrets'] && (variables.isOfPipelines "
        "|| object.metadata.name == variables.client + '-client')) || request.resource.group == 'kubeflow.org'",
        "of a TrackingServerClient the operator writes a ConfigMap, its Secrets and a PodDefault",
    )
    yield _rule(
        "!variables.isChild || !variables.isLauncher || ("
        f"variables.told.all(key, key == '{LAUNCHER_KEY}' || variables.toldBefore[?key] == optional.of(variables.told[key])) "
        f"&& variables.toldBefore.all(key, key == '{LAUNCHER_KEY}' || key in variables.told) && "
        + " && ".join(
            (
                *(
                    _as_before(field)
                    for field in ("?binaryData", "metadata.?labels", "metadata.?annotations")
                ),
                _as_before("metadata.?ownerReferences", "[]"),
            )
        )
        + ")",
        f"of ConfigMap {LAUNCHER} the operator writes the key {LAUNCHER_KEY} and nothing else",
    )
    yield _rule(
        "!variables.isChild || !variables.isSecret || object == null || (object.?type.orValue('Opaque') == 'Opaque' "
        f"&& (variables.isOfPipelines "
        f"|| {_listed(SECRETS)}.exists(what, object.metadata.name == variables.owner + '-' + what)))",
        "the operator writes only the Secrets that it makes for a server",
    )
    yield _rule(
        "!variables.isChild || !variables.isService || object == null "
        f"|| ({_inside('object')}) || (oldObject != null && !({_inside('oldObject')}))",
        "the operator's Services have the type ClusterIP and no external addresses",
    )
    # What somebody else has put into a pod does not keep the operator from repairing the rest of it.
    yield _rule(
        "variables.isRestricted || !variables.wasRestricted",
        "the operator runs only pods that the Pod Security Standard 'restricted' admits, with the ServiceAccount of their "
        "server",
    )


def _rule(expression: str, message: str) -> Schema:
    return {"expression": expression, "message": message, "reason": "Forbidden"}


def _label(object_: str, label: str) -> str:
    return f"{object_} == null ? '' : {object_}.metadata.?labels[?'{label}'].orValue('')"


def _has_marks(object_: str) -> str:
    labels = f"{object_}.metadata.?labels"
    return (
        f"({labels}[?'{MANAGED_BY_LABEL}'].orValue('') == '{FIELD_MANAGER}' "
        f"&& {labels}[?'{SERVER_LABEL}'].orValue('') != '')"
    )


def _has_owner(object_: str, owner: str = "") -> str:
    """Whether the controller of an object is a TrackingServer or client, of this name if one is given, or a backup of a server."""
    of_server = f" && one.name == {owner} && variables.client == ''" if owner else ""
    of_client = f" && one.name == {owner} && variables.client != ''" if owner else ""
    is_owner = (
        f"((one.kind == 'TrackingServer'{of_server}) || one.kind == 'TrackingServerBackup' "
        f"|| (one.kind == 'TrackingServerClient'{of_client}))"
    )
    return (
        f"{object_}.metadata.?ownerReferences.orValue([]).exists(one, "
        f"one.?controller.orValue(false) && one.apiVersion.startsWith('{GROUP}/') && {is_owner})"
    )


def _has_tools(object_: str) -> str:
    """Whether a ConfigMap is the archive of programs, belongs to nobody, and stays as it is."""
    return (
        f"({object_}.metadata.?labels[?'{MANAGED_BY_LABEL}'].orValue('') == '{FIELD_MANAGER}' "
        f"&& {object_}.metadata.?ownerReferences.orValue([]).size() == 0 && {object_}.?immutable.orValue(false) "
        f"&& {object_}.?data.orValue({{}}).size() == 0 "
        f"&& {object_}.?binaryData.orValue({{}}).all(key, key == '{TOOLS_FILE}'))"
    )


def _restricted(pod: str) -> str:
    """Whether a pod is admitted by ``restricted`` (Kubernetes: Pod Security Standards), and is its server's own."""
    settings = f"{pod}.?securityContext"
    return " && ".join(
        (
            *(f"!{pod}.?{one}.orValue(false)" for one in ("hostNetwork", "hostPID", "hostIPC")),
            f"{pod}.?nodeName.orValue('') == ''",
            f"{pod}.?serviceAccountName.orValue('') == variables.server",
            f"{settings}.?runAsNonRoot.orValue(false)",
            f"{settings}.?runAsUser.orValue(1) != 0",
            f"{settings}.?seccompProfile.?type.orValue('') in ['RuntimeDefault', 'Localhost']",
            f"{settings}.?sysctls.orValue([]).size() == 0",
            f"{pod}.?volumes.orValue([]).all(one, {' || '.join(f'has(one.{source})' for source in VOLUMES)})",
            *(_all_restricted(f"{pod}.?{kind}.orValue([])") for kind in ("containers", "initContainers")),
        )
    )


def _all_restricted(containers: str) -> str:
    settings = "one.?securityContext"
    return (
        f"{containers}.all(one, "
        + " && ".join(
            (
                f"!{settings}.?allowPrivilegeEscalation.orValue(true)",
                f"!{settings}.?privileged.orValue(false)",
                f"{settings}.?capabilities.?drop.orValue([]).exists(what, what == 'ALL')",
                f"{settings}.?capabilities.?add.orValue([]).size() == 0",
                f"{settings}.?runAsNonRoot.orValue(true)",
                f"{settings}.?runAsUser.orValue(1) != 0",
                f"{settings}.?procMount.orValue('Default') == 'Default'",
                f"{settings}.?seccompProfile.?type.orValue('RuntimeDefault') != 'Unconfined'",
                "one.?ports.orValue([]).all(port, port.?hostPort.orValue(0) == 0)",
            )
        )
        + ")"
    )


def _as_before(field: str, empty: str = "{}") -> str:
    """Whether a field of an object, such as ``metadata.?labels``, is as it was; ``empty`` is what its absence means."""
    now, before = (f"{one}.{field}.orValue({empty})" for one in ("object", "oldObject"))
    return f"{now} == (oldObject == null ? {empty} : {before})"


def _inside(service: str) -> str:
    return (
        f"{service}.?spec.?type.orValue('ClusterIP') == 'ClusterIP' "
        f"&& {service}.?spec.?externalIPs.orValue([]).size() == 0"
    )


def _listed(words: Iterable[str]) -> str:
    return "[" + ", ".join(f"'{word}'" for word in words) + "]"
