"""What can be set from outside: environment variables that begin with ``TRACKING_OPERATOR_``."""

import json
import os
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from tracking_operator.kube.cache_memory import MEBIBYTE, MOST_BYTES_OF_ALL_NAMESPACES
from tracking_operator.timings import Timings

_OWN_NAMESPACE_FILE: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_API_SERVER_VARIABLE: Final = "KUBERNETES_SERVICE_HOST"
_DEFAULT_NAMESPACE: Final = "tracking-operator-system"
_LOG_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")


def own_namespace() -> str:
    """Return the namespace of the pod that this runs in, or the usual one outside a cluster."""
    try:
        return _OWN_NAMESPACE_FILE.read_text(encoding="utf-8").strip()
    except OSError:
        return _DEFAULT_NAMESPACE


def ip_families_of_services() -> tuple[Literal["IPv4", "IPv6"], ...]:
    """Return the family of the cluster's Services, as every pod can tell from that of the API server."""
    return ("IPv6",) if ":" in os.environ.get(_API_SERVER_VARIABLE, "") else ("IPv4",)


class OperatorSettings(BaseSettings):
    """The operator's settings; each has a default that is right for ``manifests/base``."""

    model_config = SettingsConfigDict(env_prefix="TRACKING_OPERATOR_", frozen=True, extra="ignore")

    namespace: str = Field(
        default_factory=own_namespace,
        description="The operator's own namespace: its Lease, and the Secrets that classes name, are there.",
    )
    cluster_name: str = Field(
        default="",
        description="Tells clusters apart that share a Postgres or a bucket; default: the UID of kube-system.",
    )
    workers: int = Field(
        default=8,
        ge=1,
        description="How many servers are worked on at the same time, half of them at most in one namespace; classes and deletions "
        "have a worker more each.",
    )
    resync: float = Field(
        default=600.0,
        gt=0,
        description="Seconds after which a settled server's stores are looked at again, ±10 %.",
    )
    cache_mebibytes: int = Field(
        default=MOST_BYTES_OF_ALL_NAMESPACES // MEBIBYTE,
        ge=1,
        description="How much of the objects of all namespaces is kept in memory, packed: about 0.01 for each server. What is beyond it is read "
        "when it is needed; raise it with the pod's limit of memory.",
    )
    image_repository: str = Field(
        default="tracking-operator/mlflow",
        description="Where the images of MLflow versions are that no class offers; the version is the tag.",
    )
    service_proxy: str = Field(
        default="",
        description="URL of an HTTP proxy through which servers are asked, for an operator outside of the cluster.",
    )
    ip_families: Annotated[tuple[Literal["IPv4", "IPv6"], ...], NoDecode] = Field(
        default_factory=ip_families_of_services,
        description="IPv4, IPv6, or both separated by a comma: whose addresses NetworkPolicies name; default: the API server's.",
    )
    watch_secrets: bool = Field(
        default=True,
        description="Whether labelled Secrets are watched. If not, they are read by name when a server is looked at.",
    )
    built_in_class: bool = Field(
        default=True,
        description="Whether servers without a class get the built-in one: SQLite and a volume, without limits or login.",
    )
    timings: Annotated[Timings, NoDecode] = Field(
        default_factory=Timings,
        description="Times that the operator waits during rotations, as JSON; for tests only: with short ones, pods lose their stores.",
    )
    lease_name: str = Field(
        default="tracking-operator", description="The Lease that the active operator holds."
    )
    metrics_port: int = Field(default=8080, ge=0, description="Prometheus metrics; 0: none.")
    health_port: int = Field(default=8081, ge=0, description="/healthz and /readyz; 0: none.")
    log_level: str = Field(
        default="INFO",
        description="DEBUG, INFO, WARNING or ERROR.",
        json_schema_extra={"enum": list(_LOG_LEVELS)},
    )
    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="The namespaces to serve, separated by commas; none: all."
    )

    @field_validator("watch_namespaces", "ip_families", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(name for part in value.split(",") if (name := part.strip()))

    @field_validator("timings", mode="before")
    @classmethod
    def _from_json(cls, value: object) -> object:
        return json.loads(value) if isinstance(value, str) else value

    @field_validator("log_level")
    @classmethod
    def _known_level(cls, value: str) -> str:
        level = value.upper()
        if level not in _LOG_LEVELS:
            raise ValueError(f"log level {value!r} is not one of {', '.join(_LOG_LEVELS)}")
        return level


class SettingsError(Exception):
    """A variable holds something that cannot be used; the message names it and says why."""


def read_settings() -> OperatorSettings:
    """Read the settings from the environment. Raises SettingsError."""
    try:
        return OperatorSettings()
    except ValidationError as error:
        problems = (
            f"{'_'.join(map(str, problem['loc'])).upper()} {problem['input']!r}: {problem['msg']}"
            for problem in error.errors()
        )
        raise SettingsError(
            f"Settings cannot be used: {'; '.join(f'TRACKING_OPERATOR_{one}' for one in problems)}. "
            "'tracking-operator run --help' lists them."
        ) from error
