"""A prefix of the server's own in its class's bucket.

MLflow reads two of the variables itself (mlflow/store/artifact/s3_artifact_repo.py, 3.17.2); the others are botocore's
(https://docs.aws.amazon.com/boto3/latest/guide/configuration.html). None of them is a secret.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final

from tracking_operator.api.placement import ArtifactPlacement
from tracking_operator.api.pod_template import PodTemplate
from tracking_operator.api.s3_connection import AddressingStyle
from tracking_operator.api.tracking_server_class import S3Identity, S3StoreSpec
from tracking_operator.pod_tools.programs import SETTINGS_OF_OTHER_SERVERS
from tracking_operator.resources.destinations import Destination, Endpoint, anywhere
from tracking_operator.resources.stores.certificates import CA_KEY
from tracking_operator.resources.stores.endpoints_in_text import HTTPS_PORT, endpoint_of_url
from tracking_operator.resources.stores.inputs import StoreInputs
from tracking_operator.resources.stores.interface import (
    ArtifactParts,
    ArtifactStore,
    ClientParts,
    Evidence,
    FoundBy,
    StartSecret,
    StoreMount,
    TriedOut,
)
from tracking_operator.resources.stores.paths import ARTIFACT_STORE_CREDENTIALS
from tracking_operator.resources.stores.s3_variables import (
    CA_VARIABLES,
    ENDPOINT_VARIABLE,
    connection_variables,
)

CREDENTIALS_KEY: Final = "credentials"

OWN_KEYS: Final = ("accessKeyId", "secretAccessKey")
"""What a Secret holds with which a team brings the keys of its prefix itself."""

RESERVED_ARTIFACT_ENV: Final = frozenset(
    {
        *SETTINGS_OF_OTHER_SERVERS,
        "AWS_ACCESS_KEY_ID",
        "AWS_CA_BUNDLE",
        "AWS_CONFIG_FILE",
        "AWS_DEFAULT_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_EC2_METADATA_DISABLED",
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_S3",
        "AWS_PROFILE",
        "AWS_ROLE_ARN",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_SHARED_CREDENTIALS_FILE",
        "AWS_WEB_IDENTITY_TOKEN_FILE",
        "MLFLOW_BOTO_CLIENT_ADDRESSING_STYLE",
        ENDPOINT_VARIABLE,
        "MLFLOW_S3_EXPECTED_BUCKET_OWNER",
        "MLFLOW_S3_IGNORE_TLS",
        "MLFLOW_S3_UPLOAD_EXTRA_ARGS",
    }
)
"""What the operator sets for a server with a prefix of its own, or what would have it use another identity or store.
For an external store they are the team's."""

VARIABLES_OF_ROLES: Final = ("AWS_ROLE_ARN", "AWS_STS_REGIONAL_ENDPOINTS", "AWS_WEB_IDENTITY_TOKEN_FILE")
VARIABLES_OF_POD_IDENTITY: Final = (
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_STS_REGIONAL_ENDPOINTS",
)
"""What EKS's webhooks add to pods (https://docs.aws.amazon.com/eks/latest/userguide/pod-configuration.html)."""

ROLE_ANNOTATION: Final = "eks.amazonaws.com/role-arn"
"""Has EKS give the pods a token for the role (https://github.com/aws/amazon-eks-pod-identity-webhook)."""

POD_IDENTITY_ADDRESS: Final[Mapping[str, str]] = {"IPv4": "169.254.170.23/32", "IPv6": "fd00:ec2::23/128"}
"""The agent of EKS Pod Identity, on port 80
(https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html)."""
POD_IDENTITY_PORT: Final = 80


@dataclass(frozen=True)
class S3Artifacts(ArtifactStore):
    """A prefix of the server's own in the class's bucket."""

    is_managed: ClassVar[bool] = True

    bucket: str
    prefix: str
    """Without a slash at its end."""
    region: str
    endpoint: str | None
    """The URL of the S3 server; None for AWS."""
    addressing_style: AddressingStyle
    secret: str | None
    """The Secret that is mounted: ``NAME-artifacts``, which the operator writes, or the team's own; None without any."""
    has_own_ca: bool
    """Whether the CA comes from the class; if not, the CAs of the image count."""
    has_keys: bool
    """Whether the Secret has keys; if not, the identity comes by the ServiceAccount."""
    has_own_keys: bool = False
    """Whether the keys are those of a Secret that somebody else made."""
    ca_secret: str | None = None
    """The Secret with the CA, where that is not the one with the keys."""
    role_arn: str | None = None
    """The role that the ServiceAccount assumes (IAM roles for service accounts)."""
    encryption: str | None = None
    """What every upload has to ask for; None where the bucket's policy does not care."""
    uses_pod_identity: bool = False
    """Whether the pods get their identity from EKS Pod Identity."""

    @property
    def uri(self) -> str:
        """The prefix as MLflow names it."""
        return f"s3://{self.bucket}/{self.prefix}"

    def evidence(self) -> Evidence:
        """The operator makes it, and a Job tries it out with the server's identity."""
        return Evidence(FoundBy.STEP, awaited="the object store", place=self.uri)

    def secrets(self) -> tuple[StartSecret, ...]:
        """The keys: botocore reads them when a process starts."""
        if self.secret is None:
            return ()
        if self.has_own_keys:
            return (StartSecret(self.secret, field="s3.identity.secret of the class", required=OWN_KEYS),)
        return (StartSecret(self.secret),)

    def endpoints(self, in_secret: Sequence[Endpoint] | None, of_team: PodTemplate) -> tuple[Endpoint, ...]:
        """The class's server; the names of AWS's depend on the bucket."""
        return (endpoint_of_url(self.endpoint) if self.endpoint is not None else Endpoint("", HTTPS_PORT),)

    def pod_parts(self) -> ArtifactParts:
        """The prefix, and the identity that may use it."""
        place = (f"--bucket={self.bucket}", f"--prefix={self.prefix}")
        own_keys = ("--own-keys",) if self.has_own_keys else ()
        return ArtifactParts(
            place=self.uri,
            place_variables={ENDPOINT_VARIABLE: self.endpoint},
            variables=self._variables(),
            mounts=self._mounts(),
            reserved_variables=RESERVED_ARTIFACT_ENV,
            variables_of_webhooks=self._variables_of_webhooks(),
            account_annotations={ROLE_ANNOTATION: self.role_arn} if self.role_arn is not None else {},
            check_job_arguments=("s3", *place, *own_keys),
            deletion_job_arguments=place,
            identity_destinations=self._identity_destinations(),
        )

    def tried_out(self) -> TriedOut:
        """The prefix on its server, and the role."""
        return TriedOut((self.bucket, self.prefix, self.endpoint), self.role_arn)

    def client_parts(self) -> ClientParts:
        """Where the bucket is, and the keys, unless the team has brought them itself."""
        return ClientParts(
            root=self.uri,
            are_admitted=True,
            variables=self._connection_variables(),
            get_keys=self.has_keys and not self.has_own_keys,
        )

    def _variables(self) -> dict[str, str]:
        """The variables of the pods; the keys themselves are in a mounted file."""
        # Without it, a pod that gets no identity of its own would take the node's.
        variables = self._connection_variables() | {"AWS_EC2_METADATA_DISABLED": "true"}
        if self.has_keys and not self.has_own_keys:
            variables["AWS_SHARED_CREDENTIALS_FILE"] = f"{ARTIFACT_STORE_CREDENTIALS}/{CREDENTIALS_KEY}"
        if self.has_own_ca:
            variables |= CA_VARIABLES
        return variables

    def _connection_variables(self) -> dict[str, str]:
        """Where the bucket is and how it is addressed, for whoever has keys."""
        variables = connection_variables(self.endpoint, self.region, self.addressing_style)
        if self.encryption is not None:
            variables["MLFLOW_S3_UPLOAD_EXTRA_ARGS"] = json.dumps({"ServerSideEncryption": self.encryption})
        return variables

    def _mounts(self) -> tuple[StoreMount, ...]:
        """Keys and CA in one folder, also where the keys are the team's and the CA is the class's."""
        if self.secret is None:
            return ()
        source: dict[str, object] = {"secret": {"secretName": self.secret}}
        if self.ca_secret is not None:
            ca = {"name": self.ca_secret, "items": [{"key": CA_KEY, "path": CA_KEY}]}
            source = {"projected": {"sources": [{"secret": {"name": self.secret}}, {"secret": ca}]}}
        return (StoreMount("artifact-store-credentials", ARTIFACT_STORE_CREDENTIALS, source),)

    def _variables_of_webhooks(self) -> tuple[str, ...]:
        roles = VARIABLES_OF_ROLES if self.role_arn else ()
        return roles + (VARIABLES_OF_POD_IDENTITY if self.uses_pod_identity else ())

    def _identity_destinations(self) -> tuple[Destination, ...]:
        if self.uses_pod_identity:
            return (Destination((POD_IDENTITY_PORT,), addresses=POD_IDENTITY_ADDRESS),)
        return (anywhere(HTTPS_PORT),) if self.role_arn else ()  # STS, which gives a role for the token


def s3_artifacts(inputs: StoreInputs, place: ArtifactPlacement) -> S3Artifacts:
    """The prefix that the server was given."""
    if inputs.class_spec.s3 is None:  # taken out of the class: only looked at, never built
        return _unreachable(place)
    return _as_offered(inputs, place, inputs.class_spec.s3)


def _as_offered(inputs: StoreInputs, place: ArtifactPlacement, class_store: S3StoreSpec) -> S3Artifacts:
    has_own_ca = class_store.ca_config_map_ref is not None
    has_own_keys = class_store.identity.secret is not None
    has_keys = has_own_keys or _makes_keys(class_store.identity)
    written_by_us = inputs.names.artifacts if has_keys or has_own_ca else None
    secret = inputs.artifact_secret if has_own_keys else written_by_us
    return S3Artifacts(
        bucket=place.bucket,
        prefix=place.prefix,
        region=class_store.region,
        endpoint=place.endpoint,
        addressing_style=class_store.effective_addressing_style,
        secret=secret,
        has_own_ca=has_own_ca,
        has_keys=has_keys,
        has_own_keys=has_own_keys,
        ca_secret=inputs.names.artifacts if has_own_ca and secret != inputs.names.artifacts else None,
        role_arn=inputs.role_arn if class_store.identity.irsa else None,
        encryption=class_store.require_encryption,
        uses_pod_identity=class_store.identity.pod_identity is not None,
    )


def _makes_keys(identity: S3Identity) -> bool:
    """Whether the operator makes a user with keys for each server."""
    return identity.iam_user is not None or identity.versitygw is not None


def _unreachable(place: ArtifactPlacement) -> S3Artifacts:
    return S3Artifacts(
        bucket=place.bucket,
        prefix=place.prefix,
        region="",
        endpoint=place.endpoint,
        addressing_style=AddressingStyle.PATH,
        secret=None,
        has_own_ca=False,
        has_keys=False,
    )
