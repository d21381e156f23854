"""Decided once: what a new server gets, and that nothing moves it afterwards."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import EXTERNAL_BUCKET, EXTERNAL_DATABASE, Manifest, plan_of, server, tracking_class
from tracking_operator.api.conditions import Reason
from tracking_operator.api.decision import Decision
from tracking_operator.api.marks import ALLOW_EMPTY_STORE_ANNOTATION, RESOLVED_ANNOTATION
from tracking_operator.api.tracking_server import ArtifactStoreKind, BackendStoreKind, TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.failures import Invalid
from tracking_operator.reconcile.decide import recorded_decision
from tracking_operator.reconcile.plan import Plan

SQLITE: Manifest = {"sqlite": {}}
VOLUME: Manifest = {"volume": {}}
ACCEPTS_EMPTY = {ALLOW_EMPTY_STORE_ANNOTATION: "true"}


def decided(plan: Plan, spec: Manifest | None = None, **annotations: str) -> TrackingServer:
    """The server of a plan, later: with what was decided for it and perhaps another specification."""
    annotations[RESOLVED_ANNOTATION] = plan.decision.to_annotation()
    return server(spec, annotations=annotations)


def messages(plan: Plan) -> str:
    return " ".join(note.message for note in plan.notes)


class TestNewServer:
    def test_without_any_class_gets_sqlite_a_volume_and_our_newest_release(self) -> None:
        assert plan_of(server()).decision == Decision(
            class_name="",
            version="3.17.2",
            backend_store=BackendStoreKind.SQLITE,
            artifact_store=ArtifactStoreKind.VOLUME,
            host="",
            path="/",
        )

    def test_gets_what_its_specification_names(self) -> None:
        spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
        decision = plan_of(server(spec)).decision
        assert decision.backend_store is BackendStoreKind.EXTERNAL
        assert decision.artifact_store is ArtifactStoreKind.EXTERNAL

    def test_gets_host_and_path_of_its_class(self) -> None:
        naming = {"host": "{{ name }}.{{ namespaceLabels.stage }}.example.com", "path": "/{{ namespace }}"}
        plan = plan_of(
            server(), tracking_class({"naming": naming}, is_default=True), namespace_labels={"stage": "test"}
        )
        assert (plan.decision.host, plan.decision.path) == ("mlflow.test.example.com", "/team-a")
        assert plan.model.service_url == "http://mlflow.team-a.svc/team-a"

    @pytest.mark.parametrize(
        ("field", "template"),
        [("host", "{{ nothing }}"), ("host", "A B"), ("path", "no-slash"), ("path", "{{ 1 / 0 }}")],
    )
    def test_whose_class_has_a_broken_template_hears_which_and_whom_to_ask(
        self, field: str, template: str
    ) -> None:
        broken = tracking_class({"naming": {field: template}}, is_default=True)
        with pytest.raises(
            Invalid, match=rf"^InvalidSpec: naming\.{field} of class 'standard' .*Ask the platform"
        ):
            plan_of(server(), broken)


class TestDecidedServer:
    """What may happen to a class after a server was made from it, and what the server makes of it."""

    @pytest.mark.parametrize(
        "naming",
        [
            {"host": "other-{{ name }}.example.com", "path": "/other"},
            {},
            {"host": "{{ broken", "path": "broken"},
            {"host": "{{ namespaceLabels.gone }}"},
        ],
    )
    def test_keeps_host_and_path_when_the_templates_change(self, naming: Manifest) -> None:
        before = {"host": "{{ name }}.example.com", "path": "/{{ namespace }}"}
        created = plan_of(server({"className": "standard"}), tracking_class({"naming": before}))
        later = plan_of(decided(created, {"className": "standard"}), tracking_class({"naming": naming}))
        assert later.decision == created.decision
        assert later.model == created.model

    def test_hears_that_a_new_server_would_get_another_host(self) -> None:
        created = plan_of(server(), tracking_class({"naming": {"host": "old.example.com"}}, is_default=True))
        later = plan_of(
            decided(created), tracking_class({"naming": {"host": "new.example.com"}}, is_default=True)
        )
        assert later.notes[0].reason is Reason.RESOLVED_DIFFERS
        assert "'new.example.com'" in messages(later)
        assert "'old.example.com'" in messages(later)

    def test_keeps_its_class_when_another_becomes_the_default(self) -> None:
        old, new = tracking_class({}, "old", is_default=True), tracking_class({}, "new", is_default=True)
        created = plan_of(server(), old)
        later = plan_of(decided(created), tracking_class({}, "old"), new)
        assert later.decision == created.decision
        assert "keeps 'old'" in messages(later)

    def test_does_not_move_to_another_class_even_past_the_api_server(self) -> None:
        first, other = tracking_class({}, is_default=True), tracking_class({}, name="other")
        moved = decided(plan_of(server(), first), {"className": "other"})
        with pytest.raises(Invalid, match="was made from class 'standard'"):
            plan_of(moved, first, other)

    def test_keeps_the_built_in_class_when_a_default_class_appears(self) -> None:
        created = plan_of(server())
        later = plan_of(
            decided(created), tracking_class({"naming": {"host": "x.example.com"}}, is_default=True)
        )
        assert later.decision == created.decision
        assert "keeps 'built in'" in messages(later)

    @pytest.mark.parametrize("spec", [{}, {"className": "one"}])
    def test_is_not_held_up_when_two_classes_claim_to_be_the_default(self, spec: Manifest) -> None:
        one, two = (tracking_class({}, name, is_default=True) for name in ("one", "two"))
        created = plan_of(server(spec), one)
        assert plan_of(decided(created, spec), one, two).decision == created.decision

    def test_keeps_its_version_when_the_default_rises_and_hears_of_it(self) -> None:
        versions = [{"version": version, "image": f"mlflow:{version}"} for version in ("3.16.1", "3.17.2")]
        offer = {"mlflow": {"versions": versions, "defaultVersion": "3.16.1"}}
        created = plan_of(server(), tracking_class(offer, is_default=True))
        offer["mlflow"]["defaultVersion"] = "3.17.2"
        later = plan_of(decided(created), tracking_class(offer, is_default=True))
        assert later.model.version == "3.16.1"
        assert [note.reason for note in later.notes] == [Reason.UPGRADE_AVAILABLE]
        assert "set spec.version to upgrade from 3.16.1" in messages(later)

    def test_that_was_upgraded_stays_upgraded_when_the_field_is_removed_again(self) -> None:
        annotations = {
            RESOLVED_ANNOTATION: Decision(
                version="3.16.1",
                backend_store=BackendStoreKind.SQLITE,
                artifact_store=ArtifactStoreKind.VOLUME,
            ).to_annotation()
        }
        upgraded = server({}, annotations=annotations, status={"version": "3.17.2"})
        assert plan_of(upgraded).model.version == "3.17.2"

    def test_is_decided_for_a_second_time_exactly_as_the_first_time(self) -> None:
        created = plan_of(server())
        again = plan_of(decided(created))
        assert again.decision.to_annotation() == created.decision.to_annotation()
        assert not again.notes


class TestStores:
    @pytest.mark.parametrize(
        ("field", "first", "then"),
        [
            ("backendStore", SQLITE, EXTERNAL_DATABASE),
            ("backendStore", EXTERNAL_DATABASE, SQLITE),
            ("backendStore", EXTERNAL_DATABASE, {}),
            ("backendStore", {}, EXTERNAL_DATABASE),
            ("artifactStore", VOLUME, EXTERNAL_BUCKET),
            ("artifactStore", EXTERNAL_BUCKET, VOLUME),
            ("artifactStore", EXTERNAL_BUCKET, {}),
        ],
    )
    def test_another_kind_is_refused_and_taken_only_by_who_accepts_an_empty_one(
        self, field: str, first: Manifest, then: Manifest
    ) -> None:
        created = plan_of(server({field: first}))
        with pytest.raises(Invalid) as refused:
            plan_of(decided(created, {field: then}))
        assert refused.value.reason is Reason.RESOLVED_DIFFERS
        assert f"spec.{field} names" in refused.value.message
        assert ALLOW_EMPTY_STORE_ANNOTATION in refused.value.message

        moved = plan_of(decided(created, {field: then}, **ACCEPTS_EMPTY))
        assert moved.decision != created.decision

    @pytest.mark.parametrize("annotation", ["false", "True", "yes", ""])
    def test_only_the_word_true_accepts_an_empty_store(self, annotation: str) -> None:
        created = plan_of(server())
        changed = decided(
            created, {"backendStore": EXTERNAL_DATABASE}, **{ALLOW_EMPTY_STORE_ANNOTATION: annotation}
        )
        with pytest.raises(Invalid):
            plan_of(changed)

    @pytest.mark.parametrize(("first", "then"), [({}, SQLITE), (SQLITE, {}), (SQLITE, SQLITE)])
    def test_naming_what_is_in_use_anyway_changes_nothing(self, first: Manifest, then: Manifest) -> None:
        created = plan_of(server({"backendStore": first}))
        assert plan_of(decided(created, {"backendStore": then})).decision == created.decision

    stores = st.sampled_from([{}, SQLITE, EXTERNAL_DATABASE])

    @given(stores, stores)
    def test_no_change_of_the_specification_moves_a_server_unasked(
        self, first: Manifest, then: Manifest
    ) -> None:
        created = plan_of(server({"backendStore": first}))
        try:
            later = plan_of(decided(created, {"backendStore": then}))
        except Invalid:
            return
        assert later.decision == created.decision


class TestRecord:
    @pytest.mark.parametrize("record", ["", "{}", "null", "nonsense", '{"version": "3.17.2"}', '["a"]'])
    def test_that_somebody_edited_is_never_replaced_by_a_guess(self, record: str) -> None:
        with pytest.raises(
            Invalid, match=r"The annotation tracking-operator\.dev/resolved cannot be used .*restore its"
        ):
            plan_of(server(annotations={RESOLVED_ANNOTATION: record}))

    @pytest.mark.parametrize(
        "edit", [{"path": "/../b"}, {"path": "no-slash"}, {"host": "a,b"}, {"host": "*"}]
    )
    def test_that_names_an_impossible_address_is_refused(self, edit: Manifest) -> None:
        record = json.loads(plan_of(server()).decision.to_annotation()) | edit
        with pytest.raises(Invalid, match="cannot be used"):
            plan_of(server(annotations={RESOLVED_ANNOTATION: json.dumps(record)}))

    def test_that_is_lost_is_written_again_from_the_status(self) -> None:
        naming = {"path": "/first", "host": "{{ name }}.example.com"}
        created = plan_of(server(), tracking_class({"naming": naming}, is_default=True)).decision
        status = {
            "className": created.class_name,
            "version": "3.16.1",
            "backendStore": {"kind": "sqlite"},
            "artifactStore": {"kind": "volume"},
            "address": {"url": "http://mlflow.team-a.svc/first"},
        }
        offers = [{"version": version, "image": f"mlflow:{version}"} for version in ("3.16.1", "3.17.2")]
        changed = {"naming": naming | {"path": "/second"}, "mlflow": {"versions": offers}}
        later = plan_of(server(status=status), tracking_class(changed, is_default=True)).decision
        assert later == created.updated(version="3.16.1")

    def test_of_a_newer_operator_can_be_read(self) -> None:
        record = json.loads(plan_of(server()).decision.to_annotation()) | {"fieldOfTheFuture": 1}
        annotated = server(annotations={RESOLVED_ANNOTATION: json.dumps(record)})
        assert recorded_decision(annotated) == plan_of(server()).decision

    def test_holds_no_secret(self) -> None:
        spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
        record = json.loads(plan_of(server(spec)).decision.to_annotation())
        assert record.keys() == {"className", "version", "backendStore", "artifactStore", "host", "path"}


class TestChoiceOfClass:
    def test_a_class_that_does_not_exist_is_named_with_those_that_do(self) -> None:
        classes = [tracking_class({}, "gold"), tracking_class({}, "silver")]
        with pytest.raises(Invalid, match=r"no TrackingServerClass 'golden'.*one of gold, silver"):
            plan_of(server({"className": "golden"}), *classes)

    def test_without_any_class_the_sentence_says_so(self) -> None:
        with pytest.raises(Invalid, match=r"ClassNotFound.*no class exists yet"):
            plan_of(server({"className": "golden"}))

    def test_two_defaults_are_none(self) -> None:
        classes: list[TrackingServerClass] = [tracking_class({}, name, is_default=True) for name in "ba"]
        with pytest.raises(Invalid, match="MultipleDefaultClasses: The classes a and b"):
            plan_of(server(), *classes)

    def test_a_named_class_wins_over_two_defaults(self) -> None:
        classes = [tracking_class({}, name, is_default=True) for name in "ab"]
        assert plan_of(server({"className": "a"}), *classes).chosen.name == "a"

    def test_a_class_that_went_away_stops_only_who_uses_it(self) -> None:
        created = plan_of(server(), tracking_class({}, "gone", is_default=True))
        with pytest.raises(Invalid, match=r"no TrackingServerClass 'gone'"):
            plan_of(decided(created))

    def test_the_newest_version_on_offer_is_the_default_by_number_and_not_by_letter(self) -> None:
        versions = [{"version": version, "image": f"mlflow:{version}"} for version in ("3.9.0", "3.17.2")]
        class_ = tracking_class({"mlflow": {"versions": versions}}, is_default=True)
        assert plan_of(server(), class_).model.image == "mlflow:3.17.2"
