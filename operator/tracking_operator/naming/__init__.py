"""Every computed name: child objects, database, host, URL path, in-cluster addresses, and their limits.

Templates come from the platform team's class and are rendered in Jinja's sandbox; what a tenant
writes only ever enters as a value. Every result is checked before anything uses it.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from jinja2 import StrictUndefined, Template, TemplateError, nodes
from jinja2.exceptions import SecurityError
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

DEFAULT_ARTIFACT_PREFIX: Final = "{{ namespace }}/{{ name }}"

SERVICE_PORT: Final = 80
CONTAINER_PORT: Final = 5000
METRICS_PORT: Final = 5001
MLFLOW_PORT: Final = 5002
"""Where MLflow listens for the proxy alone, on 127.0.0.1, where people log in at an identity provider."""

MAX_HOST_LENGTH: Final = 253
MAX_PATH_LENGTH: Final = 200
MAX_PORT: Final = 65535
MAX_DATABASE_LENGTH: Final = 61
MAX_PREFIX_LENGTH: Final = 200
MAX_RENDERED_LENGTH: Final = 1024
"""What no name comes near to, in characters: a template that writes more is stopped."""

_HOST = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?(\.[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?)*")
_ORIGIN = re.compile(rf"(?P<scheme>https?)://(?P<host>{_HOST.pattern})(:(?P<port>[1-9][0-9]{{0,4}}))?/?")
_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
_ROLE_ARN = re.compile(r"arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]{1,576}")
_CLIENT_ID = re.compile(r"[A-Za-z0-9._~:/@-]{1,255}")
_GROUP = re.compile(r'[^,"$\x00-\x1f\x7f]{1,256}')
_PATH = re.compile(r"/|(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")

_PREFIX = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_NOT_IN_IDENTIFIERS = re.compile(r"[^a-z0-9_]+")
_RESERVED_BY_POSTGRES: Final = "pg_"
_SCHEME_PORTS: Final = {"http": 80, "https": 443}
_HASH_LENGTH: Final = 16
_LONGEST_QUOTE: Final = 80


class _NameTemplates(ImmutableSandboxedEnvironment):
    """Jinja for names: nothing random, nothing endless, nothing that makes gigabytes out of a letter."""

    intercepted_binops = frozenset({"*", "**", "%"})

    def __init__(self) -> None:
        super().__init__(undefined=StrictUndefined, autoescape=False)
        self.globals.clear()
        del self.filters["random"]

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Refuse the operators that can blow up a value."""
        raise SecurityError(f"the operator {operator!r} is not available in names")


_TEMPLATES = _NameTemplates()
_TEMPLATE_FAILURES = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the expressions in a template may raise: they are a small program of the platform team's."""


class BadName(ValueError):
    """A template or a name cannot be used; the text says why and what to write instead."""


@dataclass(frozen=True)
class ChildNames:
    """What the objects of one tracking server are called."""

    server: str

    @property
    def workload(self) -> str:
        """Deployment, Service and ServiceAccount share the server's own name."""
        return self.server

    @property
    def backend_store(self) -> str:
        """The volume claim that holds a SQLite database."""
        return f"{self.server}-backend-store"

    @property
    def artifact_store(self) -> str:
        """The volume claim that holds artifacts."""
        return f"{self.server}-artifact-store"

    @property
    def auth(self) -> str:
        """The Secret with the passwords of MLflow's own login."""
        return f"{self.server}-auth"

    @property
    def oidc(self) -> str:
        """The Secret of the proxy that logs people in at an identity provider."""
        return f"{self.server}-oidc"

    @property
    def encryption(self) -> str:
        """The Secret with the keys by which MLflow encrypts what it stores."""
        return f"{self.server}-encryption"

    @property
    def client(self) -> str:
        """The ConfigMap that a client pod takes its settings from, and the Secret with its keys."""
        return f"{self.server}-client"

    @property
    def database(self) -> str:
        """The Secret with the service file by which the pods log in to the server's own database."""
        return f"{self.server}-database"

    @property
    def artifacts(self) -> str:
        """The Secret with the keys by which the pods reach the server's own prefix, and the CA of the object store."""
        return f"{self.server}-artifacts"

    @property
    def secrets(self) -> tuple[str, ...]:
        """All Secrets that the operator writes for the server."""
        return self.auth, self.client, self.database, self.artifacts, self.encryption, self.oidc

    @property
    def secrets_of_jobs(self) -> tuple[str, ...]:
        """The Secrets that are there only as long as a Job that mounts them."""
        return self.backup, self.restore, self.trial, self.scratch_database

    @property
    def check_artifacts(self) -> str:
        """The Job that tries the artifact store out with the server's own identity."""
        return f"{self.server}-check-artifacts"

    @property
    def delete_artifacts(self) -> str:
        """The Job that removes the artifacts of a server that is deleted."""
        return f"{self.server}-delete-artifacts"

    def migration(self, version: str) -> str:
        """The Job that brings the database schema up to an MLflow version."""
        return f"{self.server}-migrate-{version.replace('.', '-')}"

    @property
    def reset_login(self) -> str:
        """The Job that gives MLflow's admin the password of the Secret."""
        return f"{self.server}-reset-login"

    @property
    def collect_garbage(self) -> str:
        """The Job that removes what the team has deleted, and its NetworkPolicy."""
        return f"{self.server}-collect-garbage"

    @property
    def backup(self) -> str:
        """The Job that backs the server up, its NetworkPolicy, and the Secret with the URLs that it writes to."""
        return f"{self.server}-backup"

    @property
    def restore(self) -> str:
        """The Job that fills a new server's stores from a backup, its NetworkPolicy, and the Secret with the URLs that it reads."""
        return f"{self.server}-restore"

    @property
    def trial(self) -> str:
        """The Job that restores a backup for a trial, its NetworkPolicy, and the Secret with the URLs that it reads."""
        return f"{self.server}-trial"

    @property
    def scratch_database(self) -> str:
        """The Secret by which that Job logs in to the database that is there for it."""
        return f"{self.server}-trial-database"

    @property
    def migration_policy(self) -> str:
        """The NetworkPolicy of the Jobs that change the backend store: those that migrate it, and that of the login."""
        return f"{self.server}-migrate"

    @property
    def artifact_jobs_policy(self) -> str:
        """The NetworkPolicy of the Jobs that try the artifact store out, and empty it."""
        return f"{self.server}-artifact-jobs"

    @property
    def former_scripts(self) -> str:
        """The ConfigMap with the programs of pods that were made before there was one for the whole namespace."""
        return f"{self.server}-check"


@dataclass(frozen=True)
class TemplateValues:
    """What a naming template of a class may refer to."""

    namespace: str
    name: str
    class_name: str
    cluster_name: str
    namespace_labels: Mapping[str, str]

    def as_context(self) -> dict[str, object]:
        """The values under the names that templates use."""
        return {
            "namespace": self.namespace,
            "name": self.name,
            "class": self.class_name,
            "clusterName": self.cluster_name,
            "namespaceLabels": dict(self.namespace_labels),
        }


def render(template: str, values: TemplateValues, **more: str) -> str:
    """Render one naming template of a class; ``more`` are values that only some templates know.

    Raises:
        BadName: the template does not parse, fails, names a value that does not exist, or writes without end.

    """
    written = ""
    try:
        for part in _compiled(template).generate(values.as_context() | more):
            written += part
            if len(written) > MAX_RENDERED_LENGTH:
                break
    except _TEMPLATE_FAILURES as error:
        raise BadName(f"The template {quoted(template)} cannot be rendered: {error}.") from error
    if len(written) > MAX_RENDERED_LENGTH:
        raise BadName(
            f"The template {quoted(template)} writes more than {MAX_RENDERED_LENGTH} characters: shorten it."
        )
    return written


def parsed(template: str) -> nodes.Template:
    """Parse one naming template.

    Raises:
        BadName: it does not parse.

    """
    try:
        return _TEMPLATES.parse(template)
    except _TEMPLATE_FAILURES as error:
        raise BadName(f"The template {quoted(template)} cannot be read: {error}.") from error


@lru_cache(maxsize=256)
def _compiled(template: str) -> Template:
    return _TEMPLATES.from_string(template)


def database_name(template: str, values: TemplateValues) -> str:
    """The name of a server's database and of its owner role, from the class's template.

    Whatever the template writes becomes lower-case letters, digits and underscores; the hash at the end
    keeps servers apart whose names look alike then, also those of two clusters that share a PostgreSQL.
    At most 61 bytes, so that the two logins, one more letter each, fit into PostgreSQL's 63.

    Raises:
        BadName: the template cannot be rendered.

    """
    readable = _NOT_IN_IDENTIFIERS.sub("_", render(template, values).lower()).strip("_")
    if not readable[:1].isalpha() or f"{readable}_".startswith(_RESERVED_BY_POSTGRES):
        readable = f"mlflow_{readable}"
    identity = f"{values.cluster_name}/{values.namespace}/{values.name}"
    ending = hashlib.sha256(identity.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{readable[: MAX_DATABASE_LENGTH - len(ending) - 1].rstrip('_')}_{ending}"


def artifact_prefix(template: str, values: TemplateValues) -> str:
    """The prefix of a server's artifacts in the class's bucket, from the class's template; no slash at its end.

    Raises:
        BadName: the template cannot be rendered, or what it writes is no prefix.

    """
    return checked_artifact_prefix(render(template, values))


def checked_artifact_prefix(prefix: str) -> str:
    """Return ``prefix`` if it can be one server's place in a bucket, as it is written in policies and in URIs.

    What begins with a dot is kept for the operator's own marks.

    Raises:
        BadName: it is anything else.

    """
    if len(prefix) > MAX_PREFIX_LENGTH or not _PREFIX.fullmatch(prefix):
        raise BadName(
            f"{quoted(prefix)} is not the prefix of a server's artifacts: write letters, digits, '-', '_', '.' and '/', "
            "no '/' at either end or twice in a row, no segment that begins with '.', "
            f"at most {MAX_PREFIX_LENGTH} characters."
        )
    return prefix


def secret_name(template: str, values: TemplateValues) -> str:
    """The name of a Secret that a server's team or platform brings, from the class's template.

    Raises:
        BadName: the template cannot be rendered, or what it writes is no name of a Secret (RFC 1123).

    """
    name = render(template, values)
    if len(name) > MAX_HOST_LENGTH or not _SUBDOMAIN.fullmatch(name):
        raise BadName(
            f"{quoted(name)} is not the name of a Secret: write lower-case letters, digits, '-' and '.', "
            f"with a letter or digit at both ends of each part between dots, at most {MAX_HOST_LENGTH} characters."
        )
    return name


def client_id(template: str, values: TemplateValues) -> str:
    """Who a server is to the identity provider, from the class's template.

    Raises:
        BadName: the template cannot be rendered, or what it writes is nothing that providers take.

    """
    name = render(template, values)
    if not _CLIENT_ID.fullmatch(name):
        raise BadName(
            f"{quoted(name)} is not the id of a client: write letters, digits and . _ ~ : / @ -, at most 255 characters."
        )
    return name


def group_name(template: str, values: TemplateValues) -> str:
    """A group of the identity provider, from the class's template.

    Raises:
        BadName: the template cannot be rendered, or what it writes could be taken for several groups.

    """
    name = render(template, values)
    if not _GROUP.fullmatch(name):
        raise BadName(
            f"{quoted(name)} is not the name of a group: write no commas, double quotes, $ and line breaks, at most 256 characters."
        )
    return name


def role_arn(template: str, values: TemplateValues) -> str:
    """The ARN of the role that a server's ServiceAccount assumes, from the class's template.

    Raises:
        BadName: the template cannot be rendered, or what it writes is no ARN of a role.

    """
    arn = render(template, values)
    if not _ROLE_ARN.fullmatch(arn):
        raise BadName(
            f"{quoted(arn)} is not the ARN of a role: write it like arn:aws:iam::123456789012:role/mlflow-team-a."
        )
    return arn


def checked_host(host: str) -> str:
    """Return ``host`` if it is a lower-case DNS name (RFC 1123) without a port.

    Raises:
        BadName: it is anything else.

    """
    if len(host) > MAX_HOST_LENGTH or not _HOST.fullmatch(host):
        raise BadName(
            f"{quoted(host)} is not a host name: write lower-case letters, digits, '-' and '.', "
            f"at most 63 characters between dots and {MAX_HOST_LENGTH} in all, without a port."
        )
    return host


def host_pattern(template: str, values: TemplateValues) -> str:
    """Hosts that a server may ask for, from the class's template: one host, or ``*.`` and a domain.

    Raises:
        BadName: the template cannot be rendered, or what it writes is neither.

    """
    pattern = render(template, values)
    checked_host(pattern.removeprefix("*."))
    return pattern


def checked_path(path: str) -> str:
    """Return ``path`` if it can be the URL prefix of a server: ``/`` or ``/team-a``, without a slash at the end.

    Raises:
        BadName: it is anything else.

    """
    if len(path) > MAX_PATH_LENGTH or not _PATH.fullmatch(path):
        raise BadName(
            f"{quoted(path)} is not a URL path: begin with '/', use letters, digits, '-', '_', '.' and '~', "
            f"no empty, '.' or '..' segments, no '/' at the end, at most {MAX_PATH_LENGTH} characters."
        )
    return path


def public_origin(template: str, values: TemplateValues, host: str) -> str:
    """Scheme, host and port that people write, from the class's template, which knows ``host`` if there is one.

    The port is left out where it is the scheme's own, as browsers do.

    Raises:
        BadName: the template cannot be rendered, or what it writes is no such beginning of a URL.

    """
    more = {"host": host} if host else {}
    return checked_origin(render(template, values, **more))


def checked_origin(url: str) -> str:
    """Return ``url`` in its shortest form if it has scheme, host, perhaps a port, and nothing else.

    Raises:
        BadName: it is anything else.

    """
    found = _ORIGIN.fullmatch(url)
    if not found or len(found["host"]) > MAX_HOST_LENGTH or int(found["port"] or 1) > MAX_PORT:
        raise BadName(
            f"{quoted(url)} is not the beginning of a URL: write http:// or https://, a host name in lower-case letters, "
            "and a port where it is not the scheme's own, without user, path or query, for example http://localhost:7006."
        )
    scheme, host, port = found["scheme"], found["host"], found["port"]
    is_usual = port is None or int(port) == _SCHEME_PORTS[scheme]
    return f"{scheme}://{host}" if is_usual else f"{scheme}://{host}:{port}"


def url_prefix(path: str) -> str:
    """What comes between a host and MLflow's own routes: nothing for ``/``, else the path itself."""
    return "" if path == "/" else path


def service_host(name: str, namespace: str) -> str:
    """The in-cluster host of a Service, in the form that resolves from every namespace."""
    return f"{name}.{namespace}.svc"


def service_url(name: str, namespace: str, path: str) -> str:
    """The in-cluster URL of a tracking server."""
    return f"http://{service_host(name, namespace)}{url_prefix(path)}"


def service_host_names(name: str, namespace: str, cluster_domain: str) -> list[str]:
    """Every host name under which a pod may address the Service."""
    return [
        name,
        f"{name}.{namespace}",
        f"{name}.{namespace}.svc",
        f"{name}.{namespace}.svc.{cluster_domain}",
    ]


def quoted(text: str) -> str:
    """A text as a sentence quotes it: no control characters, and not without end."""
    return repr(text if len(text) <= _LONGEST_QUOTE else text[: _LONGEST_QUOTE - 1] + "…")
