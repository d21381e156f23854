"""The TrackingServerClient: asks for the use of a TrackingServer in another namespace, whose owner has to grant it."""

from typing import Annotated, Final, Literal

from pydantic import Field

from tracking_operator.api.base import ApiModel, Rule, with_rules
from tracking_operator.api.conditions import Condition, Conditions, ConditionType, find_condition
from tracking_operator.api.kubernetes_types import ObjectMeta
from tracking_operator.api.labels_and_annotations import API_VERSION, ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.api.server_access import ClientPermission, NamespaceName
from tracking_operator.api.tracking_server import MAX_NAME_LENGTH, StatusText

MAX_USERNAME_LENGTH: Final = 255


class ServerInNamespace(ApiModel):
    """A TrackingServer, by namespace and name."""

    namespace: NamespaceName
    """The namespace of the TrackingServer."""
    name: Annotated[str, Field(min_length=1, max_length=MAX_NAME_LENGTH)]
    """The name of the TrackingServer."""


class KubeflowIntegration(ApiModel):
    """What Kubeflow is told of the client."""

    pod_default: bool = False
    """Whether there is a PodDefault, by which notebooks take address and login without anything set by hand. Default: false."""
    pipelines: bool = False
    """Whether Kubeflow Pipelines finds the login: in Secret kfp-mlflow-credentials, which the key plugins.mlflow of ConfigMap
    kfp-launcher names. Who runs Kubeflow Pipelines sets the server's address there. Default: false."""


class Integrations(ApiModel):
    """Who is told of the client beside the pods that take its ConfigMap and Secret."""

    kubeflow: KubeflowIntegration = KubeflowIntegration()
    """Kubeflow. Default: it is told nothing."""


class TrackingServerClientSpec(ApiModel):
    """What is asked for."""

    model_config = with_rules(
        Rule(
            "self.serverRef.__namespace__ == oldSelf.serverRef.__namespace__ && self.serverRef.name == oldSelf.serverRef.name",
            "serverRef cannot be changed, because users and passwords belong to one server; make another TrackingServerClient",
        )
    )

    server_ref: ServerInNamespace
    """The server to use. Its owner grants that by spec.access.clients of the TrackingServer."""
    permission: ClientPermission
    """What programs of this namespace are to do: READ reads experiments and models that belong to others, EDIT logs to them, too. What
    a program makes itself it may manage in either case. Another permission makes another user, with another password."""
    integrations: Integrations = Integrations()
    """Who else is told. Default: nobody."""


class TrackingServerClientStatus(ApiModel):
    """What became of it. Written by the operator only."""

    observed_generation: Annotated[int, Field(ge=0, json_schema_extra={"format": "int64"})] | None = None
    """The metadata.generation that this status was found for."""
    conditions: Conditions = ()
    """How the client is, by type. Connected says that pods of this namespace have what they need; Ready is the same as a summary."""
    config_map_name: StatusText | None = None
    """The ConfigMap with MLFLOW_TRACKING_URI, for pods of this namespace by envFrom. Absent: there is none."""
    secret_name: StatusText | None = None
    """The Secret with MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD. Absent: there is none, or nobody has to log in."""
    username: Annotated[str, Field(max_length=MAX_USERNAME_LENGTH)] | None = None
    """The user of MLflow that was made for this client alone. Absent: there is none."""

    def condition(self, type_: ConditionType) -> Condition | None:
        """Return the condition of this type, or None."""
        return find_condition(self.conditions, type_)


class TrackingServerClient(ApiModel):
    """Asks for the use of a TrackingServer in another namespace. It has an effect once the server's owner grants the same.

    Then the namespace gets a ConfigMap and a Secret with a user of its own.
    """

    model_config = with_rules(
        Rule(
            f"self.metadata.name.size() <= {MAX_NAME_LENGTH} && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name must begin with a lower-case letter, end with a letter or digit, have only a-z, 0-9 and '-' in it, and "
            f"at most {MAX_NAME_LENGTH} characters, because names of other objects are made from it; choose another name",
            ".metadata.name",
        )
    )

    api_version: str = API_VERSION
    kind: Literal["TrackingServerClient"] = "TrackingServerClient"
    metadata: ObjectMeta = ObjectMeta()
    spec: TrackingServerClientSpec
    """What is asked for."""
    status: TrackingServerClientStatus = TrackingServerClientStatus()
    """What became of it. Written by the operator only."""

    @property
    def asked_rotation(self) -> str:
        """The value that asked for another password last; empty if none ever did."""
        return self.metadata.annotations.get(ROTATE_CREDENTIALS_ANNOTATION, "")
