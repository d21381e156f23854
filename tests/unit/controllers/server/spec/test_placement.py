"""Decided once: what a new server gets, and that nothing moves it afterwards."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.unit.examples import (
    EXTERNAL_BUCKET,
    EXTERNAL_DATABASE,
    Manifest,
    placed,
    plan_of,
    postgres_class,
    postgres_store,
    server,
    tracking_class,
)
from tracking_operator.api.conditions import Reason
from tracking_operator.api.labels_and_annotations import ALLOW_EMPTY_STORE_ANNOTATION, RESOLVED_ANNOTATION
from tracking_operator.api.placement import (
    ArtifactStoreKind,
    BackendStoreKind,
    DatabasePlacement,
    Placement,
)
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass
from tracking_operator.controllers.server.plan import Plan
from tracking_operator.controllers.server.spec.placement import placement_of
from tracking_operator.failures import Invalid

SQLITE: Manifest = {"sqlite": {}}
POSTGRES: Manifest = {"postgres": {}}
NO_POSTGRES = tracking_class(is_default=True)
VOLUME: Manifest = {"volume": {}}
ACCEPTS_EMPTY = {ALLOW_EMPTY_STORE_ANNOTATION: "true"}


def decided(plan: Plan, spec: Manifest | None = None, **annotations: str) -> TrackingServer:
    """The server of a plan, later: with what was decided for it and perhaps another specification."""
    return server(spec, annotations=annotations, status=placed(plan))


def messages(plan: Plan) -> str:
    return " ".join(note.message for note in plan.notes)


class TestNewServer:
    def test_without_any_class_gets_sqlite_a_volume_and_our_newest_release(self) -> None:
        assert plan_of(server()).placement == Placement(
            class_name="",
            version="3.18.0",
            backend_store=BackendStoreKind.SQLITE,
            artifact_store=ArtifactStoreKind.VOLUME,
            host="",
            path="/",
        )

    def test_gets_what_its_specification_names(self) -> None:
        spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
        placement = plan_of(server(spec)).placement
        assert placement.backend_store is BackendStoreKind.EXTERNAL
        assert placement.artifact_store is ArtifactStoreKind.EXTERNAL

    def test_gets_host_and_path_of_its_class(self) -> None:
        naming = {"host": "{{ name }}.{{ namespaceLabels.stage }}.example.com", "path": "/{{ namespace }}"}
        plan = plan_of(
            server(), tracking_class({"naming": naming}, is_default=True), namespace_labels={"stage": "test"}
        )
        assert (plan.placement.host, plan.placement.path) == ("mlflow.test.example.com", "/team-a")
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
        assert later.placement == created.placement
        assert later.model == created.model

    def test_hears_that_a_new_server_would_get_another_host(self) -> None:
        created = plan_of(
            server(),
            tracking_class(
                {"naming": {"host": "{{ name }}.{{ namespace }}.old.example.com"}}, is_default=True
            ),
        )
        later = plan_of(
            decided(created),
            tracking_class(
                {"naming": {"host": "{{ name }}.{{ namespace }}.new.example.com"}}, is_default=True
            ),
        )
        assert later.notes[0].reason is Reason.RESOLVED_DIFFERS
        assert "'mlflow.team-a.new.example.com'" in messages(later)
        assert "'mlflow.team-a.old.example.com'" in messages(later)

    def test_keeps_its_class_when_another_becomes_the_default(self) -> None:
        old, new = tracking_class({}, "old", is_default=True), tracking_class({}, "new", is_default=True)
        created = plan_of(server(), old)
        later = plan_of(decided(created), tracking_class({}, "old"), new)
        assert later.placement == created.placement
        assert "keeps 'old'" in messages(later)

    def test_does_not_move_to_another_class_even_past_the_api_server(self) -> None:
        first, other = tracking_class({}, is_default=True), tracking_class({}, name="other")
        moved = decided(plan_of(server(), first), {"className": "other"})
        with pytest.raises(Invalid, match="was made from class 'standard'"):
            plan_of(moved, first, other)

    def test_keeps_the_built_in_class_when_a_default_class_appears(self) -> None:
        created = plan_of(server())
        later = plan_of(
            decided(created),
            tracking_class({"naming": {"host": "{{ name }}.{{ namespace }}.x.example.com"}}, is_default=True),
        )
        assert later.placement == created.placement
        assert "keeps 'built in'" in messages(later)

    @pytest.mark.parametrize("spec", [{}, {"className": "one"}])
    def test_is_not_held_up_when_two_classes_claim_to_be_the_default(self, spec: Manifest) -> None:
        one, two = (tracking_class({}, name, is_default=True) for name in ("one", "two"))
        created = plan_of(server(spec), one)
        assert plan_of(decided(created, spec), one, two).placement == created.placement

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
        placement = {"version": "3.16.1", "backendStore": "sqlite", "artifactStore": "volume"}
        upgraded = server({}, status={"placement": placement, "version": "3.17.2"})
        assert plan_of(upgraded).model.version == "3.17.2"

    def test_is_decided_for_a_second_time_exactly_as_the_first_time(self) -> None:
        created = plan_of(server())
        again = plan_of(decided(created))
        assert again.placement.as_kubernetes() == created.placement.as_kubernetes()
        assert not again.notes


def in_status(placement: Placement) -> Manifest:
    """The status that mirrors a placement, as far as the stores go."""
    database = placement.database
    found = {
        "className": placement.class_name,
        "version": placement.version,
        "backendStore": {"kind": placement.backend_store},
        "artifactStore": {"kind": placement.artifact_store},
    }
    if database:
        place = database.model_dump(mode="json", by_alias=True)
        found["database"] = place | {"role": database.role, "loginRole": f"{database.role}_b"}
    return found


class TestDatabase:
    """A class with a PostgreSQL server: who gets a database there, and that it stays the same one."""

    @pytest.mark.parametrize(
        ("store", "class_", "kind"),
        [
            ({}, postgres_class(), BackendStoreKind.POSTGRES),
            ({}, NO_POSTGRES, BackendStoreKind.SQLITE),
            (POSTGRES, postgres_class(), BackendStoreKind.POSTGRES),
            (SQLITE, postgres_class(), BackendStoreKind.SQLITE),
            (EXTERNAL_DATABASE, postgres_class(), BackendStoreKind.EXTERNAL),
        ],
    )
    def test_is_what_a_new_server_gets_where_the_class_has_it_and_nothing_else_is_named(
        self, store: Manifest, class_: TrackingServerClass, kind: BackendStoreKind
    ) -> None:
        placement = plan_of(server({"backendStore": store}), class_).placement
        assert placement.backend_store is kind
        assert (placement.database is not None) is (kind is BackendStoreKind.POSTGRES)

    def test_is_on_the_class_s_server_and_called_after_its_template(self) -> None:
        offer = {"host": "pg.example.com", "port": 6432}
        default, own = (
            plan_of(server(), postgres_class(offer, spec)).placement.database
            for spec in ({}, {"naming": {"database": "{{ name }} of {{ namespace }}"}})
        )
        assert default == DatabasePlacement(
            host="pg.example.com", port=6432, name="mlflow_team_a_mlflow_827b91c5045d692d"
        )
        assert own == DatabasePlacement(
            host="pg.example.com", port=6432, name="mlflow_of_team_a_827b91c5045d692d"
        )

    def test_becomes_the_backend_store_of_the_model(self) -> None:
        plan = plan_of(server(), postgres_class({"host": "pg.example.com", "sslMode": "require"}))
        store = postgres_store(plan.model)
        assert plan.placement.database == DatabasePlacement(
            host=store.host, port=store.port, name=store.database
        )
        assert (store.secret, store.ssl_mode, store.has_own_ca) == ("mlflow-database", "require", False)

    @pytest.mark.parametrize("store", [{}, SQLITE])
    def test_does_not_take_the_place_of_sqlite_when_the_class_gets_a_postgresql_server(
        self, store: Manifest
    ) -> None:
        created = plan_of(server({"backendStore": store}), NO_POSTGRES)
        later = plan_of(decided(created, {"backendStore": store}), postgres_class())
        assert later.placement == created.placement
        assert later.model == created.model
        told = [(note.reason, note.message) for note in later.notes]
        expected = (
            Reason.RESOLVED_DIFFERS,
            "A new server would get 'postgres' as the backend store; this one keeps 'sqlite', "
            "as decided at its creation.",
        )
        assert told == ([] if store else [expected])

    def test_does_not_take_the_place_of_sqlite_in_the_built_in_class(self) -> None:
        created = plan_of(server())
        later = plan_of(decided(created), postgres_class())
        assert later.placement == created.placement

    def test_keeps_its_name_when_the_template_changes_and_the_server_hears_of_it(self) -> None:
        created = plan_of(server(), postgres_class())
        later = plan_of(decided(created), postgres_class(spec={"naming": {"database": "other"}}))
        assert later.placement == created.placement
        assert later.model == created.model
        assert [note.reason for note in later.notes] == [Reason.RESOLVED_DIFFERS]
        assert messages(later) == (
            "A new server would get 'other_827b91c5045d692d' as the database; this one keeps "
            "'mlflow_team_a_mlflow_827b91c5045d692d', as decided at its creation."
        )

    @pytest.mark.parametrize("template", ["{{ broken", "{{ namespaceLabels.gone }}"])
    def test_keeps_its_name_when_the_template_breaks(self, template: str) -> None:
        created = plan_of(server(), postgres_class())
        later = plan_of(decided(created), postgres_class(spec={"naming": {"database": template}}))
        assert later.placement == created.placement
        assert not later.notes

    @pytest.mark.parametrize("offer", [{"host": "new.db.svc"}, {"port": 6432}])
    def test_stays_where_it_is_when_the_class_names_another_server(self, offer: Manifest) -> None:
        created = plan_of(server(), postgres_class())
        later = plan_of(decided(created), postgres_class(offer))
        assert later.placement == created.placement
        assert later.model == created.model

    def test_of_a_class_without_postgresql_is_refused_to_a_new_server(self) -> None:
        with pytest.raises(Invalid) as refused:
            plan_of(server({"backendStore": POSTGRES}), NO_POSTGRES)
        assert refused.value.reason is Reason.NOT_PERMITTED
        assert refused.value.message == (
            "spec.backendStore.postgres needs a class with a PostgreSQL server, and class 'standard' has none: "
            "use another class, or another backend store."
        )

    def test_of_the_built_in_class_is_refused_in_the_same_words(self) -> None:
        with pytest.raises(Invalid, match=r"NotPermitted: .*and the built-in class has none"):
            plan_of(server({"backendStore": POSTGRES}))

    @pytest.mark.parametrize("spec", [{}, {"backendStore": POSTGRES}])
    def test_with_data_is_never_replaced_when_the_class_loses_its_postgresql_server(
        self, spec: Manifest
    ) -> None:
        created = plan_of(server(spec), postgres_class())
        before = decided(created, spec, **ACCEPTS_EMPTY)
        with pytest.raises(Invalid) as refused:
            plan_of(before, NO_POSTGRES)
        assert refused.value.reason is Reason.RESOLVED_DIFFERS
        assert refused.value.message == (
            "The class 'standard' has no postgres any more, and this server's data is in database "
            "mlflow_team_a_mlflow_827b91c5045d692d on pg.db.svc:5432. What runs goes on running: ask the platform team to put "
            "postgres back."
        )
        assert placement_of(before) == created.placement
        assert plan_of(before, postgres_class()).placement == created.placement

    def test_is_left_for_another_store_by_who_accepts_an_empty_one(self) -> None:
        created = plan_of(server(), postgres_class())
        moved = plan_of(decided(created, {"backendStore": SQLITE}, **ACCEPTS_EMPTY), NO_POSTGRES)
        assert moved.placement == created.placement.updated(
            backend_store=BackendStoreKind.SQLITE, database=None
        )

    @pytest.mark.parametrize("first", [SQLITE, EXTERNAL_DATABASE])
    def test_is_moved_to_by_who_accepts_an_empty_one(self, first: Manifest) -> None:
        created = plan_of(server({"backendStore": first}), postgres_class())
        moved = plan_of(decided(created, {"backendStore": POSTGRES}, **ACCEPTS_EMPTY), postgres_class())
        assert moved.placement == plan_of(server(), postgres_class()).placement
        again = plan_of(decided(moved, None, **ACCEPTS_EMPTY), postgres_class())
        assert again.placement == moved.placement

    def test_stays_with_who_would_accept_an_empty_one_but_asks_for_none(self) -> None:
        created = plan_of(server(), postgres_class())
        renamed = postgres_class({"host": "new.db.svc"}, {"naming": {"database": "other"}})
        assert plan_of(decided(created, None, **ACCEPTS_EMPTY), renamed).placement == created.placement

    def test_is_found_in_the_status_when_the_record_is_lost(self) -> None:
        created = plan_of(server(), postgres_class()).placement
        renamed = postgres_class({"host": "new.db.svc"}, {"naming": {"database": "other"}})
        later = plan_of(server(status=in_status(created)), renamed)
        assert later.placement == created

    def test_is_still_known_when_the_class_is_lost_with_the_record(self) -> None:
        created = plan_of(server(), postgres_class()).placement
        assert placement_of(server(status=in_status(created))) == created

    templates = st.sampled_from(["mlflow", "{{ name }}", "{{ broken", "pg", "x" * 100])
    hosts = st.sampled_from(["pg.db.svc", "new.db.svc"])
    named = st.sampled_from([{}, POSTGRES, SQLITE, EXTERNAL_DATABASE])

    @given(hosts, templates, named, named, st.booleans())
    def test_is_another_one_only_for_who_names_another_kind_of_store(
        self, host: str, template: str, first: Manifest, then: Manifest, offered: bool
    ) -> None:
        created = plan_of(server({"backendStore": first}), postgres_class())
        changed = postgres_class({"host": host}, {"naming": {"database": template}})
        try:
            later = plan_of(decided(created, {"backendStore": then}), changed if offered else NO_POSTGRES)
        except Invalid as refused:
            assert refused.reason is Reason.RESOLVED_DIFFERS
            return
        assert later.placement == created.placement


class TestStores:
    @pytest.mark.parametrize(
        ("field", "first", "then"),
        [
            ("backendStore", SQLITE, EXTERNAL_DATABASE),
            ("backendStore", EXTERNAL_DATABASE, SQLITE),
            ("backendStore", EXTERNAL_DATABASE, {}),
            ("backendStore", {}, EXTERNAL_DATABASE),
            ("backendStore", SQLITE, POSTGRES),
            ("backendStore", POSTGRES, SQLITE),
            ("backendStore", POSTGRES, EXTERNAL_DATABASE),
            ("backendStore", EXTERNAL_DATABASE, POSTGRES),
            ("artifactStore", VOLUME, EXTERNAL_BUCKET),
            ("artifactStore", EXTERNAL_BUCKET, VOLUME),
            ("artifactStore", EXTERNAL_BUCKET, {}),
        ],
    )
    def test_another_kind_is_refused_and_taken_only_by_who_accepts_an_empty_one(
        self, field: str, first: Manifest, then: Manifest
    ) -> None:
        class_ = postgres_class() if POSTGRES in (first, then) else NO_POSTGRES
        created = plan_of(server({field: first}), class_)
        with pytest.raises(Invalid) as refused:
            plan_of(decided(created, {field: then}), class_)
        assert refused.value.reason is Reason.RESOLVED_DIFFERS
        assert f"spec.{field} names" in refused.value.message
        assert ALLOW_EMPTY_STORE_ANNOTATION in refused.value.message

        moved = plan_of(decided(created, {field: then}, **ACCEPTS_EMPTY), class_)
        assert moved.placement != created.placement

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
        assert plan_of(decided(created, {"backendStore": then})).placement == created.placement

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
        assert later.placement == created.placement


class TestPlacement:
    """What is written into the status, and what is read instead of it."""

    @pytest.mark.parametrize(
        "claim",
        [
            "nonsense",
            "{}",
            '{"className":"","version":"3.17.2","backendStore":"sqlite","artifactStore":"volume",'
            '"host":"grafana.example.com","path":"/login"}',
            '{"className":"other","version":"3.17.2","backendStore":"postgres","artifactStore":"volume",'
            '"database":{"host":"pg.evil","port":1,"name":"theirs"}}',
        ],
    )
    def test_is_never_read_from_an_annotation(self, claim: str) -> None:
        assert plan_of(server(annotations={RESOLVED_ANNOTATION: claim})) == plan_of(server())
        placement, class_ = placement_of, postgres_class()
        created = plan_of(server(), class_)
        later = server(annotations={RESOLVED_ANNOTATION: claim}, status=placed(created))
        assert placement(later) == created.placement
        assert plan_of(later, class_).placement == created.placement

    def test_of_an_earlier_operator_is_read_from_the_rest_of_the_status(self) -> None:
        naming = {"path": "/first", "host": "{{ name }}.{{ namespace }}.example.com"}
        created = plan_of(server(), tracking_class({"naming": naming}, is_default=True)).placement
        status = {
            "className": created.class_name,
            "version": "3.16.1",
            "backendStore": {"kind": "sqlite"},
            "artifactStore": {"kind": "volume"},
            "address": {"url": "http://mlflow.team-a.svc/first"},
        }
        offers = [{"version": version, "image": f"mlflow:{version}"} for version in ("3.16.1", "3.17.2")]
        changed = {"naming": naming | {"path": "/second"}, "mlflow": {"versions": offers}}
        later = plan_of(server(status=status), tracking_class(changed, is_default=True)).placement
        assert later == created.updated(version="3.16.1")

    @pytest.mark.parametrize("store", [{}, POSTGRES, SQLITE, EXTERNAL_DATABASE])
    def test_is_read_as_it_was_written(self, store: Manifest) -> None:
        created = plan_of(server({"backendStore": store}), postgres_class())
        read = server(status=placed(created)).status.placement
        assert read == created.placement
        assert read.as_kubernetes() == created.placement.as_kubernetes()

    def test_of_a_newer_operator_can_be_read(self) -> None:
        created = plan_of(server())
        status = {"placement": placed(created)["placement"] | {"fieldOfTheFuture": 1}}
        assert placement_of(server(status=status)) == created.placement

    def test_holds_no_secret(self) -> None:
        spec = {"backendStore": EXTERNAL_DATABASE, "artifactStore": EXTERNAL_BUCKET}
        placement = plan_of(server(spec)).placement.as_kubernetes()
        assert placement.keys() == {"className", "version", "backendStore", "artifactStore", "host", "path"}

    def test_of_a_database_holds_neither_a_login_nor_how_to_be_the_admin(self) -> None:
        placement = plan_of(server(), postgres_class()).placement.as_kubernetes()
        assert placement["database"].keys() == {"host", "port", "name"}
        assert "pg-admin" not in json.dumps(placement)


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
