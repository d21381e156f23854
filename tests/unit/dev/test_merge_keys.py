"""Which lists are merged, and by what, as an OpenAPI document has it."""

import pytest

from dev.local_cluster.versions import pinned
from dev.merge_keys import GROUP_VERSION_KIND, Schema, merge_keys
from tracking_operator.kube import merge_keys as generated
from tracking_operator.kube.objects import DEPLOYMENT, SERVICE, Kind

REPLACED: Schema = {"type": "array", "items": {"properties": {"below": {"type": "array"}}}}


def merged(*keys: str, entry: Schema) -> Schema:
    return {
        "type": "array",
        "items": entry,
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": keys,
    }


def document(kind: Kind, properties: Schema, **others: Schema) -> Schema:
    identity = {"group": kind.group, "version": kind.version, "kind": kind.kind}
    schemas = {kind.kind: {GROUP_VERSION_KIND: [identity], "properties": properties}}
    return {"components": {"schemas": schemas | others}}


def test_keys_and_their_defaults_are_found_behind_references_and_not_in_what_is_replaced() -> None:
    port = {"properties": {"port": {}, "protocol": {"default": "TCP"}, "rules": REPLACED}}
    spec = {"properties": {"ports": merged("port", "protocol", entry={"$ref": "#/Port"}), "args": REPLACED}}
    properties = {"spec": {"allOf": [{"$ref": "#/Spec"}], "default": {}}, "status": spec}
    found = merge_keys(lambda kind: document(kind, properties, Port=port, Spec=spec))
    assert found == {"spec.ports": {"port": None, "protocol": "TCP"}}


def test_a_path_that_kinds_do_not_agree_on_is_refused() -> None:
    lists = {
        SERVICE: merged("port", entry={"properties": {"port": {}}}),
        DEPLOYMENT: REPLACED,
    }
    with pytest.raises(ValueError, match="items of a Deployment"):
        merge_keys(lambda kind: document(kind, {"items": lists[kind]} if kind in lists else {}))


def test_the_table_is_that_of_the_pinned_version() -> None:
    assert f"Kubernetes {pinned('kubernetes')} " in (generated.__doc__ or ""), "run `make merge-keys`"
