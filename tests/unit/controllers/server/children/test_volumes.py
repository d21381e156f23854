"""Claims that exist already: taken up again, never shrunk, written at most once."""

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import Manifest, model, tracking_class
from tracking_operator.controllers.server.children.volumes import keep_existing_claims
from tracking_operator.kube.apply import digest, plan
from tracking_operator.kube.quantities import parse_quantity
from tracking_operator.resources import build_objects

NAME = "mlflow-backend-store"
sizes = st.sampled_from(["1Gi", "1024Mi", "2Gi", "1536Mi", "1G", "5Gi"])
storage_classes = st.sampled_from([None, "fast", "slow"])


def desired(size: str = "1Gi", storage_class: str | None = None) -> list[Manifest]:
    sqlite: Manifest = {"size": size}
    if storage_class:
        sqlite["storageClassName"] = storage_class
    return build_objects(model({"backendStore": {"sqlite": sqlite}}))


def backend_claim(objects: list[Manifest]) -> Manifest:
    return next(obj for obj in objects if obj["metadata"]["name"] == NAME)


def applied(wanted: Manifest, default_class: str = "standard") -> Manifest:
    """What the API server stores when the claim is applied."""
    stamp = {"tracking-operator.dev/applied": digest(wanted)}
    stamped = wanted["metadata"] | {
        "annotations": (wanted["metadata"].get("annotations") or {}) | stamp,
        "uid": "u",
        "resourceVersion": "1",
    }
    spec = {"storageClassName": default_class, "volumeMode": "Filesystem", "volumeName": "pv-1"} | wanted[
        "spec"
    ]
    return wanted | {"metadata": stamped, "spec": spec, "status": {"phase": "Bound"}}


def found(size: str = "1Gi", storage_class: str = "standard", **spec: object) -> Manifest:
    """A claim that an earlier server, or a person, left behind."""
    live = applied(backend_claim(desired()))
    live["metadata"] = {key: value for key, value in live["metadata"].items() if key != "annotations"}
    live["spec"] = (
        live["spec"]
        | {"resources": {"requests": {"storage": size}}, "storageClassName": storage_class}
        | spec
    )
    return live


def kept(wanted: list[Manifest], live: Manifest | None) -> Manifest:
    return backend_claim(keep_existing_claims(wanted, lambda name: live if name == NAME else None))


def size_of(claim: Manifest) -> str:
    return str(claim["spec"]["resources"]["requests"]["storage"])


def test_a_claim_that_is_not_there_is_made_as_wanted() -> None:
    assert kept(desired(), None) == backend_claim(desired())


def test_only_claims_are_adapted() -> None:
    objects = desired()
    others = [
        obj
        for obj in keep_existing_claims(objects, lambda _: found())
        if obj["kind"] != "PersistentVolumeClaim"
    ]
    assert others == [obj for obj in objects if obj["kind"] != "PersistentVolumeClaim"]


def test_a_claim_that_was_left_behind_keeps_class_and_access_mode() -> None:
    left = found(storage_class="slow", accessModes=["ReadWriteMany"])
    spec = kept(desired(storage_class="fast"), left)["spec"]
    assert (spec["storageClassName"], spec["accessModes"]) == ("slow", ["ReadWriteMany"])


def test_a_claim_grows_when_more_is_wanted() -> None:
    assert size_of(kept(desired("2Gi"), found("1Gi"))) == "2Gi"


def test_a_claim_that_is_not_bound_yet_does_not_grow_because_nobody_may_change_it() -> None:
    assert size_of(kept(desired("2Gi"), found("1Gi") | {"status": {"phase": "Pending"}})) == "1Gi"


def test_a_larger_claim_that_was_left_behind_stays_as_large() -> None:
    assert size_of(kept(desired("1Gi"), found("5Gi"))) == "5Gi"


@pytest.mark.parametrize("size", ["1e9223372036854775807", "64e-4294967287", "NaN"])
def test_a_claim_whose_size_nobody_can_read_stays_as_it_is(size: str) -> None:
    assert size_of(kept(desired("2Gi"), found(size))) == size
    wanted = desired()
    backend_claim(wanted)["spec"]["resources"]["requests"]["storage"] = size
    assert size_of(kept(wanted, found("2Gi"))) == "2Gi"


def test_a_claim_that_somebody_enlarged_by_hand_stays_as_large() -> None:
    live = applied(backend_claim(desired("1Gi")))
    live["spec"] = live["spec"] | {"resources": {"requests": {"storage": "5Gi"}}}
    wanted = kept(desired("1Gi"), live)
    assert size_of(wanted) == "5Gi"
    settled = applied(wanted)
    assert plan(kept(desired("1Gi"), settled), settled) is None


def test_a_claim_that_was_just_made_is_not_written_again() -> None:
    live = applied(backend_claim(desired()))
    assert plan(kept(desired(), live), live) is None


@given(sizes, sizes, storage_classes, storage_classes)
def test_no_claim_ever_shrinks(
    first: str, then: str, class_before: str | None, class_now: str | None
) -> None:
    live = applied(backend_claim(desired(first, class_before)))
    wanted = kept(desired(then, class_now), live)
    assert parse_quantity(size_of(wanted)) >= parse_quantity(first)


@given(sizes, sizes, storage_classes, storage_classes)
def test_after_one_write_nothing_is_left_to_do(
    first: str, then: str, class_before: str | None, class_now: str | None
) -> None:
    live = applied(backend_claim(desired(first, class_before)))
    settled = applied(kept(desired(then, class_now), live))
    assert plan(kept(desired(then, class_now), settled), settled) is None


@given(sizes, storage_classes, storage_classes)
def test_what_cannot_be_changed_is_never_asked_for(size: str, before: str | None, now: str | None) -> None:
    live = applied(backend_claim(desired(size, before)))
    wanted = kept(desired(size, now), live)["spec"]
    assert (
        wanted.get("storageClassName", live["spec"]["storageClassName"]) == live["spec"]["storageClassName"]
    )
    assert wanted["accessModes"] == live["spec"]["accessModes"]


class TestClass:
    CLASS: ClassVar[Manifest] = {
        "defaults": {
            "volumes": {
                "backendStore": {"size": "5Gi", "storageClassName": "fast"},
                "artifactStore": {"size": "50Gi"},
            }
        }
    }

    def claims(self, spec: Manifest | None = None) -> list[Manifest]:
        return build_objects(model(spec or {}, tracking_class(self.CLASS, is_default=True)))

    def test_says_how_large_new_volumes_are_and_what_they_are_made_of(self) -> None:
        claim = backend_claim(self.claims())
        assert (size_of(claim), claim["spec"]["storageClassName"]) == ("5Gi", "fast")

    def test_has_no_say_where_the_team_has_one(self) -> None:
        asked = {"backendStore": {"sqlite": {"size": "2Gi", "storageClassName": "slow"}}}
        claim = backend_claim(self.claims(asked))
        assert (size_of(claim), claim["spec"]["storageClassName"]) == ("2Gi", "slow")

    def test_lets_a_volume_be_that_exists(self) -> None:
        live = found()
        kept = keep_existing_claims(
            self.claims(), lambda name: live if name == NAME else None, of_no_size=[NAME]
        )
        assert (size_of(backend_claim(kept)), backend_claim(kept)["spec"]["storageClassName"]) == (
            "1Gi",
            "standard",
        )
