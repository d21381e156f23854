"""What owners of a server may add to its pods, and what they may not touch there."""

from typing import Annotated, Final

from pydantic import Field

from tracking_operator.api.base import ATOMIC, ApiModel, Rule, map_by, with_rules
from tracking_operator.api.kubernetes_types import (
    Affinity,
    Annotations,
    EnvFromSource,
    EnvVarSource,
    Labels,
    LocalObjectReference,
    Toleration,
    TopologySpreadConstraint,
)
from tracking_operator.api.labels_and_annotations import GROUP
from tracking_operator.api.pod_settings import Rollout

RESERVED_ENV: Final = (
    "DO_NOT_TRACK",
    "GIT_PYTHON_REFRESH",
    "HOME",
    "LD_AUDIT",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "MLFLOW_ARTIFACTS_DESTINATION",
    "MLFLOW_ARTIFACTS_ONLY",
    "MLFLOW_ARTIFACTS_PRESIGNED_ONLY",
    "MLFLOW_AUTH_ADMIN_PASSWORD",
    "MLFLOW_AUTH_ADMIN_USERNAME",
    "MLFLOW_AUTH_CONFIG_PATH",
    "MLFLOW_BACKEND_STORE_URI",
    "MLFLOW_BASIC_AUTH_FAIL_CLOSED",
    "MLFLOW_CRYPTO_KEK_PASSPHRASE",
    "MLFLOW_CRYPTO_KEK_VERSION",
    "MLFLOW_DEFAULT_ARTIFACT_ROOT",
    "MLFLOW_DISABLE_TELEMETRY",
    "MLFLOW_ENABLE_WORKSPACES",
    "MLFLOW_FLASK_SERVER_SECRET_KEY",
    "MLFLOW_GUNICORN_OPTS",
    "MLFLOW_HOST",
    "MLFLOW_PORT",
    "MLFLOW_READ_REPLICA_BACKEND_STORE_URI",
    "MLFLOW_REGISTRY_STORE_URI",
    "MLFLOW_REGISTRY_URI",
    "MLFLOW_SERVER_ALLOWED_HOSTS",
    "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS",
    "MLFLOW_SERVER_DISABLE_SECURITY_MIDDLEWARE",
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION",
    "MLFLOW_SERVE_ARTIFACTS",
    "MLFLOW_SQLALCHEMYSTORE_MAX_OVERFLOW",
    "MLFLOW_SQLALCHEMYSTORE_POOL_SIZE",
    "MLFLOW_STATIC_PREFIX",
    "MLFLOW_TRACKING_URI",
    "MLFLOW_UVICORN_OPTS",
    "MLFLOW_WEBHOOK_SECRET_ENCRYPTION_KEY",
    "MLFLOW_WORKERS",
    "MLFLOW_WORKSPACE_STORE_URI",
    "PATH",
    "PGOPTIONS",
    "PGSERVICE",
    "PGSERVICEFILE",
    "TMPDIR",
)
"""Variables that the operator sets, or that would undo what it sets; users may not."""

RESERVED_ENV_PREFIXES: Final = ("_MLFLOW_", "TRACKING_OPERATOR_")
"""Variables that MLflow passes to its own worker processes, and those of the operator's programs in the pod."""

RESERVED_LABEL_PREFIXES: Final = (f"{GROUP}/", "app.kubernetes.io/")
"""Labels by which the operator, Services and selectors recognise pods; users may not set them."""


def _keys_are_free(map_: str) -> str:
    reserved = " || ".join(f"key.startsWith('{prefix}')" for prefix in RESERVED_LABEL_PREFIXES)
    return f"!has(self.{map_}) || self.{map_}.all(key, !({reserved}))"


class EnvVar(ApiModel):
    """One environment variable of the server."""

    model_config = with_rules(
        Rule(
            f"!(self.name in {list(RESERVED_ENV)}) "
            + " ".join(f"&& !self.name.startsWith('{prefix}')" for prefix in RESERVED_ENV_PREFIXES),
            "podTemplate.env may not set a variable that the operator sets itself; remove it (the reference lists "
            "the reserved names)",
            ".name",
            "'podTemplate.env may not set ' + self.name + ', because the operator sets it itself or relies on its "
            "absence; remove it'",
        ),
        Rule(
            "self.name.matches('^[-._a-zA-Z][-._a-zA-Z0-9]*$')",
            "must be the name of a variable: letters, digits, '-', '_' and '.', with no digit in front",
            ".name",
        ),
        Rule(
            "!has(self.value) || !has(self.valueFrom)",
            "podTemplate.env entries have either value or valueFrom; remove one",
        ),
    )

    name: Annotated[str, Field(min_length=1, max_length=256)]
    """The name of the variable. Those that the operator sets itself are refused."""
    value: Annotated[str, Field(max_length=8192)] | None = None
    """Its value."""
    value_from: EnvVarSource | None = None
    """Where its value comes from, instead of value."""


class PodTemplate(ApiModel):
    """Additions to the server's pods. The class may forbid some of them."""

    model_config = with_rules(
        Rule(
            _keys_are_free("labels"),
            f"podTemplate.labels may not begin with {' or '.join(RESERVED_LABEL_PREFIXES)}: "
            "the operator sets those; use a prefix of your own",
            ".labels",
        ),
        Rule(
            f"!has(self.annotations) || self.annotations.all(key, !key.startsWith('{GROUP}/'))",
            f"podTemplate.annotations may not begin with {GROUP}/: the operator sets those; use a prefix of your own",
            ".annotations",
        ),
    )

    labels: Labels = {}
    """Labels added to the pods. Not those of the operator (tracking-operator.dev/, app.kubernetes.io/)."""
    annotations: Annotations = {}
    """Annotations added to the pods."""
    node_selector: Labels = {}
    """Labels that a node must have to run the pods."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=64, json_schema_extra=ATOMIC)] = ()
    """Node taints that the pods put up with."""
    affinity: Affinity | None = None
    """Where the pods run, in relation to nodes and other pods."""
    topology_spread_constraints: Annotated[
        tuple[TopologySpreadConstraint, ...],
        Field(max_length=16, json_schema_extra=map_by("topologyKey", "whenUnsatisfiable")),
    ] = ()
    """How evenly the pods are spread over zones, nodes or other domains."""
    priority_class_name: Annotated[str, Field(max_length=253)] = ""
    """The PriorityClass of the pods, one that the class permits. Default: none."""
    env: Annotated[tuple[EnvVar, ...], Field(max_length=128, json_schema_extra=map_by("name"))] = ()
    """Environment variables added to the server, where the class permits them. Those that steer MLflow, Python, the loader,
    libpq, the SDKs of clouds or TLS have to be permitted by their names (permissions.podTemplate.variables)."""
    env_from: Annotated[tuple[EnvFromSource, ...], Field(max_length=32, json_schema_extra=ATOMIC)] = ()
    """ConfigMaps and Secrets whose keys become environment variables of the server, as far as env could set them: others are
    taken away when it starts. What the operator sets wins."""
    rollout: Rollout = Rollout()
    """How the pods give way to new ones."""
    image_pull_secrets: Annotated[
        tuple[LocalObjectReference, ...], Field(max_length=16, json_schema_extra=map_by("name"))
    ] = ()
    """Secrets in the server's namespace with which the image is pulled."""
