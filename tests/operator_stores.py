"""What tests of the operator with a store of a class share, whichever store it is: the class, its admin, its teams."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Final

from tests.certificates import make_certificates
from tests.kube_api import KubeApi
from tests.operator_fixtures import OPERATOR_NAMESPACE, Team, condition_of
from tests.waiting import wait_until
from tracking_operator.api.labels_and_annotations import WATCH_LABEL
from tracking_operator.controllers.kinds import TRACKING_SERVER_CLASS
from tracking_operator.kube.objects import (
    CONFIG_MAP,
    DEPLOYMENT,
    SECRET,
    KubeObject,
    KubeObjects,
    uid_of,
)

HOST: Final = "127.0.0.1"
NOWHERE: Final[KubeObject] = {"nodeSelector": {"no-such-node": "true"}}
SECONDS_TO_SAY_SO: Final = 10.0


@dataclass(frozen=True)
class StoreClass:
    """A class with a store, and what the platform team knows about it."""

    OFFER: ClassVar[str]
    """The field of the class's specification."""
    CONDITION: ClassVar[str]

    api: KubeApi
    name: str
    secret: str
    """The admin's, in the operator's namespace; the ConfigMap with the CA is there, too."""
    config_map: str

    def condition(self, type_: str = "") -> KubeObject | None:
        """One of the class, by default that of the store."""
        return condition_of(self.api.get(TRACKING_SERVER_CLASS, None, self.name), type_ or self.CONDITION)

    def wait_for(
        self,
        reason: str = "AsExpected",
        *,
        type_: str = "",
        words: str = "",
        seconds: float = SECONDS_TO_SAY_SO,
    ) -> KubeObject:
        """Return the condition as soon as it gives this reason, in these words."""

        def fits() -> KubeObject | None:
            found = self.condition(type_)
            return found if found and found["reason"] == reason and words in found["message"] else None

        return wait_until(fits, seconds, lambda: f"{reason} {words}; it is {self.condition(type_)}")

    def change(self, **offer: object) -> None:
        """Change fields of what the class says of the store."""
        self.api.patch(TRACKING_SERVER_CLASS, None, self.name, {"spec": {self.OFFER: offer}})

    def use_another_ca(self) -> None:
        """Name a ConfigMap with a CA that has signed something else."""
        metadata = {"name": f"{self.config_map}-another", "namespace": OPERATOR_NAMESPACE}
        data = {"ca.crt": make_certificates("another.example.com")[0]}
        self.api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})
        self.change(caConfigMapRef={"name": metadata["name"]})

    def use_own_ca(self) -> None:
        """Name the right ConfigMap again."""
        self.change(caConfigMapRef={"name": self.config_map})
        self.api.delete(CONFIG_MAP, OPERATOR_NAMESPACE, f"{self.config_map}-another")

    def use_own_secret(self) -> None:
        """Name the right Secret again."""
        self.change(adminSecretRef={"name": self.secret})


@dataclass(frozen=True)
class StoreTeam(Team):
    """A team whose servers have something of their own in the class's store."""

    SECRET_SUFFIX: ClassVar[str]

    class_name: str

    def serve(self, name: str = "mlflow", *, metadata: KubeObject | None = None, **spec: object) -> None:
        """Apply a server whose pods will never run."""
        wanted = {"className": self.class_name, "podTemplate": NOWHERE} | spec
        self.apply(wanted, name, **(metadata or {}))

    def secret(self, name: str = "mlflow") -> KubeObject:
        """The Secret by which a server's pods reach the store."""
        return self.get(SECRET, f"{name}-{self.SECRET_SUFFIX}")

    def untouched(self, name: str = "mlflow") -> KubeObjects:
        """What must stay as it is while something is wrong: the Deployment's specification, and the Secret."""
        deployment, secret = self.get(DEPLOYMENT, name), self.secret(name)
        return [
            {"uid": uid_of(deployment), "spec": deployment["spec"]},
            {"uid": uid_of(secret), "data": secret["data"]},
        ]


@contextmanager
def admin_and_authorities(
    api: KubeApi, store: str, admin: KubeObject, authorities: KubeObject, *, is_labelled: bool
) -> Iterator[str]:
    """A Secret of an admin and a ConfigMap with a CA, both of the name that is given, for the time of the block."""
    name = f"{store}-{secrets.token_hex(4)}"
    labels = {WATCH_LABEL: "true"} if is_labelled else {}
    metadata = {"name": name, "namespace": OPERATOR_NAMESPACE, "labels": labels}
    api.create({"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": admin})
    api.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": authorities})
    try:
        yield name
    finally:
        api.delete(SECRET, OPERATOR_NAMESPACE, name)
        api.delete(CONFIG_MAP, OPERATOR_NAMESPACE, name)
