"""The group, labels, annotations and finalizer by which the operator and its users recognise things."""

from typing import Final

GROUP: Final = "tracking-operator.dev"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"

FIELD_MANAGER: Final = "tracking-operator"
"""The one server-side apply field manager. It never changes: a second name would share ownership for ever."""

SERVER_LABEL: Final = f"{GROUP}/tracking-server"
"""On every object that belongs to a server: the server's name."""

CLIENT_LABEL: Final = f"{GROUP}/tracking-server-client"
"""On every object that belongs to a TrackingServerClient: that one's name."""

METRICS_LABEL: Final = f"{GROUP}/metrics"
"""On the pods of a server that is to be scraped, with the value "true": what a PodMonitor selects."""

MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"

TOOLS_PREFIX: Final = "tracking-operator-tools-"
"""How the ConfigMaps with the programs for pods are called; the digest of their content follows."""
TOOLS_FILE: Final = "tools.pyz"
"""Their only key."""
TOOLS_DIGEST_LENGTH: Final = 32
"""Hexadecimal digits, 128 bits: nobody finds other bytes with the same ones."""

SCHEDULED_LABEL: Final = f"{GROUP}/scheduled-for"
"""On a TrackingServerBackup that spec.maintenance.backup has planned: when it was due, in UTC. Others are never deleted by the operator."""

WATCH_LABEL: Final = f"{GROUP}/watch"
"""On a Secret, with the value "true": changes of it are seen at once and not only at the next resync."""

RESOLVED_ANNOTATION: Final = f"{GROUP}/resolved"
"""On a TrackingServer of an earlier operator: where its data lives. Never read, as tenants can write it, and removed."""

ALLOW_EMPTY_STORE_ANNOTATION: Final = f"{GROUP}/allow-empty-store"
"""On a TrackingServer, with the value "true": its owner accepts that a change of store starts empty."""

ROTATE_CREDENTIALS_ANNOTATION: Final = f"{GROUP}/rotate-credentials"
"""On a TrackingServer: any new value asks for new database credentials, once."""

REVOKE_NOW_ANNOTATION: Final = f"{GROUP}/revoke-now"
"""On a TrackingServer: any new value ends all access by what was handed out before, at once and once."""

WAKE_ANNOTATION: Final = f"{GROUP}/wake"
"""On a TrackingServer that sleeps by spec.sleep: any new value wakes it, once."""

FORCE_ORPHAN_ANNOTATION: Final = f"{GROUP}/force-orphan"
"""On a TrackingServer that is being deleted, with the value "true": let it go although its data could not be deleted."""

DEFAULT_CLASS_ANNOTATION: Final = f"{GROUP}/is-default-class"
"""On a TrackingServerClass, with the value "true": servers without a ``className`` use it."""

APPLIED_ANNOTATION: Final = f"{GROUP}/applied"
"""On an owned object: digest of what was last applied, so that a field that is no longer wanted is noticed."""

OPERATOR_VERSION_ANNOTATION: Final = f"{GROUP}/operator-version"
"""On the operator's Lease: the version of who holds it, or held it last."""

FINALIZER: Final = f"{GROUP}/cleanup"
"""Present only while there is something to remove that Kubernetes would leave behind."""
