"""Who gets into a server of another namespace, with what, and when that ends. A real MLflow is asked in tests/stores and tests/e2e."""

from typing import Final

import pytest

from tests.unit.controllers.client.clients_world import ADMIN, BY_NAME, TEAM, World
from tests.unit.examples import EXTERNAL_BUCKET, Manifest
from tracking_operator.api.labels_and_annotations import ROTATE_CREDENTIALS_ANNOTATION
from tracking_operator.api.operator_admission import LAUNCHER, LAUNCHER_KEY
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.client.kubeflow import has_own_key
from tracking_operator.controllers.kinds import POD_DEFAULT, TRACKING_SERVER, TRACKING_SERVER_CLIENT
from tracking_operator.controllers.request import Request
from tracking_operator.controllers.server.spec.client_grants import MOST_CLIENTS, MOST_OF_A_NAMESPACE
from tracking_operator.controllers.watches import requests_for
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import CONFIG_MAP, NAMESPACE, SECRET
from tracking_operator.mlflow.client import Answer
from tracking_operator.resources.client_secret import client_login_in
from tracking_operator.resources.kubeflow import CREDENTIALS
from tracking_operator.resources.network_policy import NAMESPACE_LABEL, build_server_policy

SERVER = Request("TrackingServer", "team-a", "mlflow")
CLIENT = Request("TrackingServerClient", "consumer", "runs")
BY_LABEL: Manifest = {"namespaceSelector": {"matchLabels": {"mlflow": "team-a"}}, "permission": "EDIT"}
NO_GRANT: Manifest = {}


def let_through(world: World) -> list[str]:
    """The namespaces that the server's policy names."""
    peers = build_server_policy(world.plan().model)["spec"]["ingress"][0]["from"]
    labels = [one["namespaceSelector"]["matchLabels"] for one in peers if "namespaceSelector" in one]
    return [
        one[NAMESPACE_LABEL]
        for one in labels
        if NAMESPACE_LABEL in one and len(one) == 1 and one[NAMESPACE_LABEL] != "tracking-operator-system"
    ]


def label(world: World, name: str, labels: dict[str, str]) -> None:
    live = world.api.objects[NAMESPACE, None, name]
    world.api.store(live | {"metadata": live["metadata"] | {"labels": labels}})


class TestGrantAndAsk:
    async def test_together_give_the_namespace_a_user_of_its_own(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        login = world.secret()
        assert world.lets_in(login) and login and login.username not in (ADMIN.username, TEAM.username)
        assert world.config_map() and "mlflow.team-a.svc" in str(world.config_map())
        assert world.ready() == ("True", "AsExpected")
        assert world.status() == {
            "configMapName": "runs-client",
            "secretName": "runs-client",
            "username": login.username,
        }
        assert let_through(world) == ["consumer"]

    async def test_ask_without_grant_gives_nothing(self) -> None:
        world = World(NO_GRANT)
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "NotGranted")
        assert (world.secret(), world.config_map(), world.status()) == (None, None, {})
        assert world.mlflow.consumers == set() and let_through(world) == []

    async def test_grant_without_ask_gives_nothing(self) -> None:
        world = World()
        await world.settle()
        assert world.mlflow.consumers == set() and let_through(world) == []

    async def test_nobody_is_told_whether_a_server_is_there_that_grants_nothing(self) -> None:
        world, empty = World(NO_GRANT), World(NO_GRANT)
        del empty.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        for one in (world, empty):
            one.ask()
            await one.look_at_client()
        assert world.condition() == empty.condition()

    async def test_of_a_settled_client_nothing_is_asked_and_nothing_written(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        world.mlflow.asked.clear()
        world.api.calls.clear()
        await world.settle()
        assert (world.mlflow.asked, world.api.writes) == ([], [])

    async def test_another_namespace_that_asks_gets_nothing_of_what_one_is_granted(self) -> None:
        world = World()
        world.ask()
        world.ask(in_="stranger")
        await world.settle()
        assert world.ready("stranger") == ("False", "NotGranted")
        assert (world.secret("stranger"), len(world.mlflow.consumers)) == (None, 1)

    async def test_two_clients_have_two_users(self) -> None:
        world = World(
            {"namespaces": [*BY_NAME["namespaces"], {"name": "consumer-runs", "permission": "EDIT"}]}
        )
        world.api.store({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "consumer-runs"}})
        world.ask(name="runs-x")
        world.ask(in_="consumer-runs", name="x")
        await world.settle()
        one, other = world.secret(name="runs-x"), world.secret("consumer-runs", "x")
        assert one and other and one.username != other.username
        assert one.username.startswith("client-consumer-runs-x-") and other.username.startswith(
            "client-consumer-runs-x-"
        )

    async def test_without_a_login_there_are_settings_and_the_way_through_the_policy(self) -> None:
        world = World(login={"none": {}})
        world.ask()
        await world.settle()
        assert world.ready() == ("True", "AsExpected") and world.config_map()
        assert (world.secret(), let_through(world), world.mlflow.asked) == (None, ["consumer"], [])

    async def test_a_server_that_does_not_serve_is_waited_for(self) -> None:
        world = World()
        world.serves = False
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "Pending") and world.secret() is None


class TestPermissions:
    @pytest.mark.parametrize(
        ("granted", "asked", "ready"),
        [
            ("EDIT", "EDIT", ("True", "AsExpected")),
            ("EDIT", "READ", ("True", "AsExpected")),
            ("READ", "READ", ("True", "AsExpected")),
            ("READ", "EDIT", ("False", "NotGranted")),
        ],
    )
    async def test_asked_for_are_within_what_is_granted(
        self, granted: str, asked: str, ready: tuple[str, str]
    ) -> None:
        grants = {"namespaces": [{"name": "consumer", "permission": granted}]}
        world = World(grants, login={"basic": {"defaultPermission": "NO_PERMISSIONS"}})
        world.ask(permission=asked)
        await world.settle()
        assert world.ready() == ready
        assert list(world.mlflow.granted.values()) == ([asked] if ready[0] == "True" else [])

    @pytest.mark.parametrize(
        ("default", "asked", "granted"),
        [("READ", "EDIT", ["EDIT"]), ("READ", "READ", []), ("EDIT", "EDIT", [])],
    )
    async def test_are_granted_where_the_default_gives_less(
        self, default: str, asked: str, granted: list[str]
    ) -> None:
        world = World(login={"basic": {"defaultPermission": default}})
        world.ask(permission=asked)
        await world.settle()
        assert world.ready() == ("True", "AsExpected")
        assert list(world.mlflow.granted.values()) == granted

    @pytest.mark.parametrize(("default", "asked"), [("EDIT", "READ"), ("MANAGE", "READ"), ("MANAGE", "EDIT")])
    async def test_that_the_login_gives_nobody_are_refused(self, default: str, asked: str) -> None:
        world = World(login={"basic": {"defaultPermission": default}})
        world.ask(permission=asked)
        await world.settle()
        assert world.ready() == ("False", "NotOffered") and default in world.message()
        assert (world.secret(), world.mlflow.consumers) == (None, set())

    async def test_keys_of_the_store_are_given_to_nobody(self) -> None:
        world = World(spec={"artifactStore": EXTERNAL_BUCKET | {"proxied": False}})
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "NotOffered") and "proxied" in world.message()

    async def test_a_server_whose_people_log_in_at_a_provider_offers_none(self) -> None:
        oidc = {
            "image": "oauth2-proxy",
            "issuer": "https://idp.example.com",
            "clientId": "mlflow",
            "allowedGroups": ["team"],
        }
        world = World(login={"oidc": oidc})
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "NotOffered")
        assert "identity provider" in world.message()
        assert (world.secret(), world.mlflow.consumers) == (None, set())

    async def test_another_one_is_another_user(self) -> None:
        world = World(login={"basic": {"defaultPermission": "NO_PERMISSIONS"}})
        world.ask()
        await world.settle()
        before = world.secret()
        world.ask(permission="READ")
        await world.settle()
        after = world.secret()
        assert before and after and world.lets_in(after) and not world.lets_in(before)
        assert world.mlflow.consumers == {after.username}
        assert world.mlflow.granted[after.username] == "READ"


class TestEnds:
    async def test_with_the_grant(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        login = world.secret()
        world.grant(NO_GRANT)
        await world.settle()
        assert world.ready() == ("False", "NotGranted") and world.status() == {}
        assert not world.lets_in(login) and world.mlflow.consumers == set()
        assert (world.secret(), world.config_map(), let_through(world)) == (None, None, [])
        assert {ADMIN.username, TEAM.username} <= set(world.mlflow.users)

    async def test_with_the_client_although_nothing_holds_it(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        del world.api.objects[TRACKING_SERVER_CLIENT, "consumer", "runs"]
        found = await world.settle()
        assert (world.mlflow.consumers, found.has_users) == (set(), False)

    async def test_also_where_the_operator_was_away(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        del world.api.objects[TRACKING_SERVER_CLIENT, "consumer", "runs"]
        world.restart()
        await world.settle()
        assert world.mlflow.consumers == set()

    async def test_as_soon_as_mlflow_answers_again(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        world.grant(NO_GRANT)
        world.mlflow.away = Answer(503, "busy")
        found = await world.settle()
        assert [one.reason.value for one in found.waits] == ["RevokingAccess"] and world.secret() is None
        world.mlflow.away = None
        found = await world.settle()
        assert (found.waits, world.mlflow.consumers) == ((), set())

    async def test_for_one_and_not_for_others(self) -> None:
        world = World({"namespaces": [*BY_NAME["namespaces"], {"name": "stranger", "permission": "EDIT"}]})
        world.ask()
        world.ask(in_="stranger")
        await world.settle()
        kept = world.secret("stranger")
        world.grant({"namespaces": [{"name": "stranger", "permission": "EDIT"}]})
        await world.settle()
        assert world.lets_in(kept) and world.secret("stranger") == kept and world.secret() is None

    async def test_for_users_in_a_database_that_an_earlier_server_had(self) -> None:
        world = World(NO_GRANT)
        other = World()
        other.ask()
        await other.settle()
        world.mlflow.users |= other.mlflow.users | {"client-of-ours": "password-of-somebody"}
        await world.settle()
        assert world.mlflow.consumers == {"client-of-ours"}

    async def test_nothing_for_a_server_that_cannot_tell_its_users_and_never_had_any(self) -> None:
        world = World(NO_GRANT)
        world.mlflow.away = Answer(404, "no such route")
        found = await world.settle()
        assert (found.has_users, found.waits, world.mlflow.asked) == (None, (), ["list"])
        world.mlflow.away = None
        assert (await world.settle(resync=True)).has_users is False

    async def test_with_passwords_that_the_owner_revokes(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        before = world.secret()
        live = world.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        annotations = {"tracking-operator.dev/revoke-now": "leaked"}
        world.store("TrackingServer", "mlflow", "team-a", live["spec"], annotations=annotations)
        await world.settle()
        assert world.lets_in(world.secret()) and not world.lets_in(before)


class TestPasswords:
    async def test_rotate_where_the_consumer_asks_for_it(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        before = world.secret()
        world.ask(annotations={ROTATE_CREDENTIALS_ANNOTATION: "1"})
        await world.settle()
        after = world.secret()
        assert before and after and before.username == after.username
        assert world.lets_in(after) and not world.lets_in(before)

    async def test_stay_over_a_restart(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        before = world.secret()
        world.restart()
        await world.settle()
        assert world.secret() == before and world.lets_in(before)

    async def test_that_a_consumer_has_written_let_nobody_in(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        place = SECRET, "consumer", "runs-client"
        world.api.store(
            world.api.objects[place]
            | {"data": {"MLFLOW_TRACKING_USERNAME": "YWRtaW4=", "MLFLOW_TRACKING_PASSWORD": "c2hvcnQ="}}
        )
        await world.settle()
        login = world.secret()
        assert (
            login
            and login.username.startswith("client-")
            and login.password != "short"
            and world.lets_in(login)
        )
        assert world.mlflow.users[ADMIN.username] == ADMIN.password

    async def test_come_again_with_a_secret_that_somebody_has_deleted(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        del world.api.objects[SECRET, "consumer", "runs-client"]
        await world.settle()
        assert world.lets_in(world.secret())


class TestForeignObjects:
    @pytest.mark.parametrize("kind", [SECRET, CONFIG_MAP])
    async def test_of_the_same_name_are_neither_changed_nor_removed(self, kind: object) -> None:
        world = World()
        foreign: Manifest = {
            "apiVersion": "v1",
            "kind": str(kind),
            "metadata": {"name": "runs-client", "namespace": "consumer", "labels": {"mine": "true"}},
            "data": {"key": "dmFsdWU="},
        }
        world.api.store(foreign)
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "Conflict") and world.mlflow.consumers == set()
        world.grant(NO_GRANT)
        await world.settle()
        found = next(
            obj
            for (of_kind, _, name), obj in world.api.objects.items()
            if (str(of_kind), name) == (str(kind), "runs-client")
        )
        assert (found["data"], found["metadata"]["labels"]) == ({"key": "dmFsdWU="}, {"mine": "true"})

    async def test_of_an_earlier_client_of_the_name_are_waited_for(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        del world.api.objects[TRACKING_SERVER_CLIENT, "consumer", "runs"]
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "Pending")
        for kind in (SECRET, CONFIG_MAP):
            del world.api.objects[kind, "consumer", "runs-client"]
        await world.settle()
        assert world.lets_in(world.secret()) and len(world.mlflow.consumers) == 1


class TestNamespaces:
    async def test_made_again_under_a_granted_name_get_nothing_until_the_owner_grants_anew(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        before = world.secret()
        world.make_again("consumer")
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "NotGranted") and not world.lets_in(before)
        assert (world.secret(), world.mlflow.consumers, let_through(world)) == (None, set(), [])
        world.grant(NO_GRANT)
        await world.settle()
        world.grant(BY_NAME)
        await world.settle()
        after = world.secret()
        assert world.lets_in(after) and before and after and after.username != before.username

    async def test_that_are_relabelled_start_from_nothing(self) -> None:
        world = World(BY_LABEL)
        label(world, "consumer", {"mlflow": "team-a"})
        world.ask()
        await world.settle()
        before = world.secret()
        assert world.lets_in(before)
        label(world, "consumer", {"mlflow": "team-b"})
        await world.settle()
        assert world.ready() == ("False", "NotGranted") and world.mlflow.consumers == set()
        label(world, "consumer", {"mlflow": "team-a"})
        await world.settle()
        assert world.lets_in(world.secret()) and not world.lets_in(before)

    async def test_that_an_entry_names_are_decided_about_by_that_alone(self) -> None:
        world = World(
            BY_LABEL | {"namespaces": [{"name": "consumer", "permission": "READ"}]},
            login={"basic": {"defaultPermission": "READ"}},
        )
        label(world, "consumer", {"mlflow": "team-a"})
        world.ask()
        await world.settle()
        assert world.ready() == ("False", "NotGranted") and "READ" in world.message()

    async def test_that_are_about_to_go_are_not_let_in(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        live = world.api.objects[NAMESPACE, None, "consumer"]
        world.api.store(live | {"metadata": live["metadata"] | {"deletionTimestamp": "2026-01-01T11:00:00Z"}})
        await world.settle()
        assert world.mlflow.consumers == set() and let_through(world) == []

    async def test_have_a_share_and_the_oldest_clients_keep_it(self) -> None:
        world = World({"namespaces": [*BY_NAME["namespaces"], {"name": "stranger", "permission": "EDIT"}]})
        for number in range(MOST_OF_A_NAMESPACE + 1):
            world.ask(name=f"runs-{number}", creationTimestamp=f"2026-01-01T10:00:0{number}Z")
        world.ask(in_="stranger", creationTimestamp="2026-01-01T11:00:00Z")
        await world.settle()
        assert world.ready(name=f"runs-{MOST_OF_A_NAMESPACE}") == ("False", "LimitExceeded")
        assert world.ready("stranger") == ("True", "AsExpected")
        assert len(world.mlflow.consumers) == MOST_OF_A_NAMESPACE + 1 <= MOST_CLIENTS


class TestWatches:
    def concerned(self, world: World, kind: object, name: str, in_: str | None) -> set[Request]:
        world.catch_up()
        found = next(
            obj
            for (of_kind, ns, n), obj in world.api.objects.items()
            if (of_kind, ns, n) == (kind, in_, name)
        )
        return set(requests_for(found, world.cache))

    def test_a_client_concerns_the_server_that_grants_its_namespace_something(self) -> None:
        world = World()
        world.ask()
        assert self.concerned(world, TRACKING_SERVER_CLIENT, "runs", "consumer") == {CLIENT, SERVER}

    def test_who_is_granted_nothing_keeps_no_server_busy(self) -> None:
        world = World()
        world.ask(in_="stranger")
        stranger = Request("TrackingServerClient", "stranger", "runs")
        assert self.concerned(world, TRACKING_SERVER_CLIENT, "runs", "stranger") == {stranger}

    def test_a_server_concerns_those_who_ask_for_it(self) -> None:
        world = World()
        world.ask()
        assert self.concerned(world, TRACKING_SERVER, "mlflow", "team-a") == {SERVER, CLIENT}

    def test_labels_of_a_namespace_concern_its_clients_and_their_servers(self) -> None:
        world = World()
        world.ask()
        assert self.concerned(world, NAMESPACE, "consumer", None) == {CLIENT, SERVER}

    async def test_what_a_client_has_concerns_the_client(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        for kind in (SECRET, CONFIG_MAP):
            assert self.concerned(world, kind, "runs-client", "consumer") == {CLIENT}


def test_the_status_of_a_server_has_room_for_what_is_granted() -> None:
    world = World()
    resource = TrackingServer.model_validate(world.api.objects[TRACKING_SERVER, "team-a", "mlflow"])
    assert world.plan(resource).granted_namespaces[0].as_kubernetes() == {
        "name": "consumer",
        "uid": "uid-of-consumer",
    }


class TestKubeflow:
    TOLD: Final[Manifest] = {"integrations": {"kubeflow": {"podDefault": True, "pipelines": True}}}

    async def test_is_told_where_the_client_says_so(self) -> None:
        world = World()
        world.ask(more=self.TOLD)
        await world.settle()
        assert world.ready() == ("True", "AsExpected")
        assert world.api.objects[POD_DEFAULT, "consumer", "runs-client"]["spec"]["envFrom"]
        assert client_login_in(world.api.objects[SECRET, "consumer", CREDENTIALS]) == world.secret()
        assert list(world.api.objects[CONFIG_MAP, "consumer", LAUNCHER]["data"]) == [LAUNCHER_KEY]
        world.api.calls.clear()
        await world.settle()
        assert world.api.writes == []

    async def test_is_told_nothing_by_default(self) -> None:
        world = World()
        world.ask()
        await world.settle()
        assert not {name for _, _, name in world.api.objects} & {CREDENTIALS, LAUNCHER}

    async def test_has_no_pod_defaults_and_pods_use_the_client_nevertheless(self) -> None:
        world = World()
        world.api.refusals["PodDefault"] = ApiError(404, "NotFound", "the server could not find the resource")
        world.ask(more=self.TOLD)
        await world.settle()
        assert world.ready() == ("False", "KubeflowMissing") and world.lets_in(world.secret())

    async def test_keeps_what_somebody_else_has_written_under_the_key(self) -> None:
        world = World()
        foreign = {"data": {LAUNCHER_KEY: "{}", "another": "value"}}
        place = {"name": LAUNCHER, "namespace": "consumer"}
        world.api.store({"apiVersion": "v1", "kind": "ConfigMap", "metadata": place} | foreign)
        world.ask(more=self.TOLD)
        await world.settle()
        assert world.ready() == ("False", "Conflict")
        world.grant(NO_GRANT)
        await world.settle()
        assert world.api.objects[CONFIG_MAP, "consumer", LAUNCHER]["data"] == foreign["data"]

    @pytest.mark.parametrize(
        ("manager", "field", "is_own"),
        [
            ("tracking-operator", "f:plugins.mlflow", True),
            ("tracking-operator", "f:defaultPipelineRoot", False),
            ("kubectl", "f:plugins.mlflow", False),
        ],
    )
    def test_has_a_key_of_the_operators_if_the_api_server_says_so(
        self, manager: str, field: str, *, is_own: bool
    ) -> None:
        entry = {"manager": manager, "fieldsV1": {"f:data": {field: {}}}}
        assert has_own_key({"metadata": {"managedFields": [entry]}}) is is_own
