"""Rules of a cluster about what may be written: admission policies, for the time of a block."""

from collections.abc import Iterator
from contextlib import contextmanager

from tests.kube_api import KubeApi
from tracking_operator.kube.objects import Kind, KubeObject, register

GROUP = "admissionregistration.k8s.io/v1"
POLICY = register(Kind(GROUP, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False))
BINDING = register(
    Kind(GROUP, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", namespaced=False)
)


@contextmanager
def a_policy(api: KubeApi, name: str, spec: KubeObject) -> Iterator[None]:
    """A ValidatingAdmissionPolicy that denies, wherever its own constraints match."""
    made = ((POLICY, spec), (BINDING, {"policyName": name, "validationActions": ["Deny"]}))
    for kind, content in made:
        metadata = {"name": name}
        api.create({"apiVersion": kind.api_version, "kind": kind.kind, "metadata": metadata, "spec": content})
    try:
        yield
    finally:
        for kind, _ in made:
            api.delete(kind, None, name)
