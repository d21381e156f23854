"""The kinds of our own API, as the Kubernetes client knows kinds."""

from typing import Final

from tracking_operator.api.labels_and_annotations import API_VERSION
from tracking_operator.kube.objects import Kind, register

TRACKING_SERVER: Final = register(Kind(API_VERSION, "TrackingServer", "trackingservers"))
TRACKING_SERVER_BACKUP: Final = register(Kind(API_VERSION, "TrackingServerBackup", "trackingserverbackups"))
TRACKING_SERVER_CLASS: Final = register(
    Kind(API_VERSION, "TrackingServerClass", "trackingserverclasses", namespaced=False)
)
TRACKING_SERVER_CLIENT: Final = register(Kind(API_VERSION, "TrackingServerClient", "trackingserverclients"))
POD_DEFAULT: Final = register(Kind("kubeflow.org/v1alpha1", "PodDefault", "poddefaults"))
"""Kubeflow's, which the cluster may not have."""
