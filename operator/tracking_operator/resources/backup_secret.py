"""The Secret with the URLs by which a Job writes or reads one backup: there as long as the Job is."""

import json
from collections.abc import Mapping

from tracking_operator.pod_tools.programs import BACKUP_URLS
from tracking_operator.resources.metadata import owned_metadata
from tracking_operator.resources.secret import data_of
from tracking_operator.resources.server_model import KubeObject, ServerModel


def build_backup_urls_secret(
    server: ServerModel, name: str, component: str, urls: Mapping[str, str], headers: Mapping[str, str]
) -> KubeObject:
    """Build the Secret; ``headers`` were signed with each URL. Nobody watches it: it is written, mounted and deleted."""
    content = json.dumps({"urls": dict(urls), "headers": dict(headers)})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": owned_metadata(server, name, component),
        "type": "Opaque",
        "data": data_of({BACKUP_URLS: content}),
    }
