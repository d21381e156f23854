"""In which order passwords, users and the Secret come about; a real MLflow is asked in tests/stores and tests/e2e."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from tests.unit.controllers.contexts import a_context
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.examples import Manifest, model
from tracking_operator.api.conditions import ConditionType, Reason
from tracking_operator.api.labels_and_annotations import SERVER_LABEL
from tracking_operator.controllers.conditions.step_result import StepResult
from tracking_operator.controllers.server.children.managed_secrets import ManagedSecrets
from tracking_operator.controllers.server.login import logins as module
from tracking_operator.controllers.server.login.logins import AdminRefused, LoginMemory, Logins, LoginWanted
from tracking_operator.controllers.server.login.sign_on import SignOnSecrets
from tracking_operator.controllers.server.login.step import PasswordStep
from tracking_operator.controllers.server_class.class_secrets import ClassSecrets
from tracking_operator.failures import Failure, Waiting
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.objects import SECRET
from tracking_operator.mlflow.client import ALREADY_EXISTS, Answer, Login, MlflowApi, Target
from tracking_operator.resources.auth_secret import LoginCredentials, login_credentials_in
from tracking_operator.resources.client_secret import build_client_secret
from tracking_operator.resources.deployment import build_deployment

TARGET = Target("http://mlflow.team-a.svc/team-a", "mlflow.example.com")
BASIC: Manifest = {"access": {"authentication": {"basic": {}}}}
PLACE = (SECRET, "team-a", "mlflow-auth")


class Crashed(BaseException):
    """The operator has died."""


@dataclass
class FakeMlflow:
    """MLflow's users, and what it was asked."""

    users: dict[str, str]
    asked: list[str] = field(default_factory=list)
    dies_after: int = 1000
    """How many requests are answered before the operator dies."""
    away: Answer | None = None
    silent: asyncio.Event | None = None
    refuses_passwords: bool = False

    async def _note(self, what: str) -> None:
        if len(self.asked) >= self.dies_after:
            raise Crashed
        self.asked.append(what)
        if self.silent:
            await self.silent.wait()

    def _knows(self, login: Login) -> bool:
        return self.users.get(login.username) == login.password

    async def log_in(self, target: Target, login: Login) -> Answer:
        assert target == TARGET
        await self._note(f"log in {login.username}")
        return self.away or Answer(200 if self._knows(login) else 401)

    async def create_user(self, target: Target, admin: Login, user: Login) -> Answer:
        await self._note(f"create {user.username}")
        if not self._knows(admin):
            return Answer(401)
        if self.refuses_passwords:
            return Answer(400, "Password must be longer", "INVALID_PARAMETER_VALUE")
        if user.username in self.users:
            return Answer(400, "exists", ALREADY_EXISTS)
        self.users[user.username] = user.password
        return Answer(200)

    async def update_password(self, target: Target, admin: Login, user: Login) -> Answer:
        await self._note(f"change {user.username}")
        if not self._knows(admin):
            return Answer(401)
        self.users[user.username] = user.password
        return Answer(200)


class World:
    """One server with a login, MLflow, and the part of the loop between them."""

    def __init__(self) -> None:
        self.api = MemoryApi()
        self.server = model(BASIC)
        self.mlflow = FakeMlflow({})
        self.now = datetime(2026, 1, 1, 12, tzinfo=UTC)
        self.restart()

    def restart(self) -> None:
        """An operator with an empty memory, and a cache that knows what the API has."""
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        self.mlflow.dies_after = 1000
        self.logins = Logins(self.api.as_client(), self.cache, cast(MlflowApi, self.mlflow), lambda: self.now)
        self.memory = LoginMemory()
        self.sign_on = SignOnSecrets(
            ManagedSecrets(self.api.as_client(), self.cache),
            ClassSecrets(self.api.as_client(), self.cache, "tracking-operator-system"),
        )

    def put(self, obj: Manifest) -> None:
        """Somebody writes an object, and the watch tells."""
        self.cache.upsert(self.api.store(obj))

    def pass_seconds(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    async def credentials(self, rotation: str = "", revocation: str = "") -> LoginCredentials:
        return await self.logins.credentials(self.server, self.memory, rotation, revocation=revocation)

    async def look(self, rotation: str = "", *, fresh: bool = False, revocation: str = "") -> Login:
        """One look, from the Secret on."""
        self.mlflow.asked.clear()
        self.api.calls.clear()
        if fresh:
            self.memory.invalidate()
        return await self.ensure_users(await self.credentials(rotation, revocation), rotation, revocation)

    async def ensure_users(self, found: LoginCredentials, rotation: str = "", revocation: str = "") -> Login:
        """See to the users."""
        return await self.logins.ensure_users(
            self.server, TARGET, found, self.memory, rotation=rotation, revocation=revocation
        )

    async def begin(self) -> Login:
        """The first pod has made its admin; one look."""
        self.mlflow.users["admin"] = (await self.credentials()).admin_password
        return await self.look()

    @property
    def known(self) -> LoginCredentials:
        """What the Secret says."""
        nothing = LoginCredentials("", "", "", "", "", "", datetime(2026, 1, 1, tzinfo=UTC))
        return login_credentials_in(self.api.objects[PLACE], nothing)


@pytest.fixture
def world() -> World:
    return World()


async def test_passwords_are_made_once_and_differ(world: World) -> None:
    first = await world.credentials()
    secrets = [first.admin_password, first.user_password, first.secret_key]
    assert {len(secret) for secret in secrets} == {43}
    assert len(set(secrets)) == 3
    world.restart()
    world.api.calls.clear()
    assert await world.credentials() == first
    assert world.api.writes == []
    assert not any(secret in repr(first) for secret in secrets)


async def test_the_ordinary_user_is_made_and_then_nothing_is_asked(world: World) -> None:
    login = await world.begin()
    assert world.mlflow.users[login.username] == login.password == world.known.user_password
    assert world.mlflow.asked == ["log in admin", "log in team", "create team"]
    assert await world.look() == login
    assert (world.mlflow.asked, world.api.writes) == ([], [])
    assert await world.look(fresh=True) == login
    assert (world.mlflow.asked, world.api.writes) == (["log in admin", "log in team"], [])
    world.restart()
    assert await world.look() == login
    assert world.api.writes == []


async def test_a_user_whose_password_was_changed_gets_that_of_the_secret(world: World) -> None:
    login = await world.begin()
    world.mlflow.users["team"] = "something else"
    await world.look(fresh=True)
    assert world.mlflow.users["team"] == login.password
    del world.mlflow.users["team"]
    await world.look(fresh=True)
    assert world.mlflow.users["team"] == login.password


async def test_a_password_that_somebody_writes_into_the_secret_is_the_users(world: World) -> None:
    await world.begin()
    secret = world.api.objects[PLACE]
    world.api.store(secret | {"data": secret["data"] | {"clientPassword": "YW5vdGhlci1wYXNzd29yZA==\n"}})
    world.restart()
    assert (await world.look()).password == world.mlflow.users["team"] == "another-password"


async def test_both_users_get_other_passwords_on_request_once(world: World) -> None:
    before = await world.begin()
    old = world.known
    after = await world.look("please")
    assert after.password not in ("", before.password)
    assert world.mlflow.users == {"admin": world.known.admin_password, "team": after.password}
    assert world.known.admin_password != old.admin_password
    assert world.known.secret_key == old.secret_key
    assert world.known.rotated_for == "please"
    assert await world.look("please") == after
    assert (world.mlflow.asked, world.api.writes) == ([], [])


async def test_a_revocation_replaces_passwords_and_the_key_to_sign_with_once(world: World) -> None:
    before = await world.begin()
    old = world.known
    announced = await world.credentials(revocation="leaked")
    assert announced.secret_key != old.secret_key, "before pods are made"
    after = await world.look(revocation="leaked")
    assert after.password != before.password
    assert world.mlflow.users == {"admin": world.known.admin_password, "team": after.password}
    assert world.known.admin_password != old.admin_password
    assert world.known.secret_key == announced.secret_key
    assert world.memory.has_revoked("leaked")
    assert not world.memory.has_revoked("leaked again")
    assert await world.look(revocation="leaked") == after
    assert await world.look() == after
    assert (world.mlflow.asked, world.api.writes) == ([], [])


async def test_passwords_of_a_rotation_that_is_under_way_are_revoked_too(world: World) -> None:
    await world.begin()
    found = await world.credentials("please")
    world.mlflow.asked.clear()
    world.mlflow.dies_after = 2
    with pytest.raises(Crashed):
        await world.ensure_users(found, "please")
    rotating = world.known
    assert rotating.is_rotating
    world.restart()
    with pytest.raises(Waiting):
        await world.look("please", revocation="leaked")
    assert not world.memory.has_revoked("leaked")
    await world.look("please", revocation="leaked")
    assert world.memory.has_revoked("leaked")
    known = {rotating.admin_password, rotating.next_admin_password}
    assert world.mlflow.users["admin"] == world.known.admin_password not in known
    assert world.known.user_password not in {rotating.user_password, rotating.next_user_password}
    assert world.known.secret_key != rotating.secret_key


async def test_a_rotation_goes_on_wherever_it_was_cut_off() -> None:
    for requests in range(6):
        world = World()
        await world.begin()
        old = world.known
        found = await world.credentials("please")
        world.mlflow.asked.clear()
        world.mlflow.dies_after = requests
        try:
            await world.ensure_users(found, "please")
            is_cut_off = False
        except Crashed:
            is_cut_off = True
        assert is_cut_off == (requests < 5), f"after {requests} requests"
        world.restart()
        login = await world.look("please")
        assert world.mlflow.users == {"admin": world.known.admin_password, "team": login.password}
        assert world.known.admin_password != old.admin_password
        assert login.password == world.known.user_password != old.user_password
        assert not world.known.is_rotating


async def test_a_crash_before_the_secret_is_swapped_leaves_both_passwords_in_it(world: World) -> None:
    await world.begin()
    found = await world.credentials("please")
    world.mlflow.dies_after = (
        len(world.mlflow.asked) + 2
    )  # the admin's password is changed, the user's is not
    with pytest.raises(Crashed):
        await world.ensure_users(found, "please")
    assert world.known.is_rotating
    assert world.mlflow.users["admin"] in (world.known.next_admin_password, world.known.admin_password)


async def test_an_admin_whose_password_was_changed_in_mlflow_is_reported_with_what_to_do(
    world: World,
) -> None:
    await world.begin()
    world.mlflow.users["admin"] = "changed by hand"
    with pytest.raises(Waiting) as refused:
        await world.look(fresh=True)
    assert refused.value.reason is Reason.LOGIN_REFUSED
    assert "Secret mlflow-auth (key password)" in refused.value.message.replace(
        "the Secret", "Secret mlflow-auth"
    )
    assert "--reset" in refused.value.message
    assert world.known.admin_password not in refused.value.message
    assert world.mlflow.users["admin"] == "changed by hand"
    secret = world.api.objects[PLACE]
    world.api.store(secret | {"data": secret["data"] | {"password": "Y2hhbmdlZCBieSBoYW5k"}})
    world.restart()
    assert (await world.look()).password == world.mlflow.users["team"]


async def test_a_server_that_does_not_answer_is_waited_for_and_loses_no_password(world: World) -> None:
    await world.begin()
    old = world.known
    world.mlflow.away = Answer(503, "no database")
    with pytest.raises(Waiting) as waits:
        await world.look("please")
    assert waits.value.reason is Reason.ANSWERS_WITH_ERROR
    assert waits.value.retry_after
    assert (world.known.admin_password, world.known.is_rotating) == (old.admin_password, True)
    world.mlflow.away = None
    await world.look("please")
    assert world.mlflow.users["admin"] == world.known.admin_password != old.admin_password


async def test_a_server_that_hangs_keeps_nobody_waiting(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    world.mlflow.users["admin"] = (await world.credentials()).admin_password
    world.mlflow.silent = asyncio.Event()
    with pytest.raises(Waiting) as waits:
        await world.look()
    assert waits.value.reason is Reason.PENDING
    with pytest.raises(Waiting):
        await world.look()
    assert world.mlflow.asked == [], "what is under way is not begun again"
    world.mlflow.silent.set()
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 5)
    assert (await world.look()).password == world.mlflow.users["team"]


async def test_what_a_slow_look_finds_is_heard_by_the_next_one(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    await world.begin()
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
    world.mlflow.silent = asyncio.Event()
    world.mlflow.users["admin"] = "changed by hand"
    with pytest.raises(Waiting) as waits:
        await world.look(fresh=True)
    assert waits.value.reason is Reason.PENDING
    world.mlflow.silent.set()
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 5)
    for _ in range(2):
        with pytest.raises(Waiting) as waits:
            await world.look()
        assert waits.value.reason is Reason.LOGIN_REFUSED


async def test_a_password_that_mlflow_does_not_take_needs_a_person(world: World) -> None:
    world.mlflow.users["admin"] = (await world.credentials()).admin_password
    world.mlflow.refuses_passwords = True
    with pytest.raises(Waiting, match="Correct the Secret mlflow-auth"):
        await world.look()


async def test_a_secret_of_somebody_elses_is_neither_read_nor_written(world: World) -> None:
    world.api.store(
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "mlflow-auth", "namespace": "team-a"},
            "data": {"password": "aGVycw=="},
        }
    )
    result = await PasswordStep(world.logins, world.sign_on).ensure(a_context(BASIC))
    assert result.found is None
    (condition_result,) = result.condition_results
    assert (condition_result.type, condition_result.reason) == (ConditionType.EXPOSED, Reason.CONFLICT)
    assert world.api.objects[PLACE]["data"] == {"password": "aGVycw=="}


async def test_without_a_login_there_is_no_secret_and_nothing_is_asked(world: World) -> None:
    assert await PasswordStep(world.logins, world.sign_on).ensure(a_context()) == StepResult(None)
    assert (world.api.calls, world.mlflow.asked) == ([], [])


class TestWhilePodsGoOver:
    async def look(self, world: World, *, deployed: Manifest, wanted: LoginWanted) -> Login | None:
        return await world.logins.look(world.server, TARGET, deployed, wanted, world.memory)

    async def test_pods_without_a_login_are_asked_for_none(self, world: World) -> None:
        wanted = LoginWanted(await world.credentials(), "")
        assert await self.look(world, deployed=build_deployment(model()), wanted=wanted) is None
        assert world.mlflow.asked == []

    async def test_old_pods_that_know_no_users_are_waited_for(self, world: World) -> None:
        wanted = LoginWanted(await world.credentials(), "")
        world.mlflow.away = Answer(404, "Not Found")
        with pytest.raises(Failure) as waits:
            await self.look(world, deployed=build_deployment(world.server), wanted=wanted)
        assert waits.value.reason is Reason.ROLLOUT_IN_PROGRESS

    async def test_an_admin_whom_they_refuse_is_not_waited_for(self, world: World) -> None:
        wanted = LoginWanted(await world.credentials(), "")
        world.mlflow.users["admin"] = "known to nobody"
        with pytest.raises(AdminRefused):
            await self.look(world, deployed=build_deployment(world.server), wanted=wanted)

    async def test_what_the_old_ones_said_does_not_count_once_they_are_gone(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wanted = LoginWanted(await world.credentials(), "")
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.01)
        world.mlflow.away, world.mlflow.silent = Answer(404, "Not Found"), asyncio.Event()
        with pytest.raises(Failure):
            await self.look(world, deployed=build_deployment(world.server), wanted=wanted)
        world.mlflow.silent.set()
        await asyncio.sleep(0)
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 5)
        world.mlflow.users["admin"] = world.known.admin_password
        for _ in range(3):  # the request that is under way has its answer already
            await asyncio.sleep(0)
        world.mlflow.away = None
        found = await self.look(world, deployed=rolled_out(build_deployment(world.server)), wanted=wanted)
        assert found == Login("team", world.known.user_password)

    async def test_those_that_still_ask_for_one_are_given_it_and_then_nobody_is(self, world: World) -> None:
        known = await world.credentials()
        world.server = replace(world.server, login=None)
        nothing = LoginWanted(None, "")
        going, gone = build_deployment(model()), rolled_out(build_deployment(model()))
        assert await self.look(world, deployed=going, wanted=nothing) == Login(
            known.user, known.user_password
        )
        assert await self.look(world, deployed=gone, wanted=nothing) is None
        world.restart()
        assert await self.look(world, deployed=going, wanted=nothing) is None, "it never had one"
        assert world.mlflow.asked == []

    async def test_once_all_have_gone_over_it_is_told_what_is_wrong(self, world: World) -> None:
        wanted = LoginWanted(await world.credentials(), "")
        world.mlflow.away = Answer(404, "Not Found")
        with pytest.raises(Failure) as waits:
            await self.look(world, deployed=rolled_out(build_deployment(world.server)), wanted=wanted)
        assert waits.value.reason is Reason.PATH_NOT_FOUND


def rolled_out(deployment: Manifest) -> Manifest:
    """The Deployment once its only pod is of the newest template."""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), 1)
    metadata = deployment["metadata"] | {"generation": 1}
    return deployment | {"metadata": metadata, "status": {"observedGeneration": 1} | counts}


def test_what_is_wanted_tells_no_password() -> None:
    known = LoginCredentials("admin", "s3cret-a", "team", "s3cret-b", "s3cret-c", "", datetime.now(UTC))
    shown = repr(
        LoginWanted(replace(known, next_admin_password="s3cret-d", next_user_password="s3cret-e"), "")
    )
    assert "s3cret" not in shown


def lose(world: World, how: str) -> None:
    """What happens to the Secret ``NAME-auth``; ``how`` may be a key that goes."""
    secret = world.api.objects[PLACE]
    if how == "deleted":
        world.cache.remove(world.api.objects.pop(PLACE))
    elif how == "emptied":
        world.put({key: value for key, value in secret.items() if key != "data"})
    else:
        world.put(secret | {"data": {key: text for key, text in secret["data"].items() if key != how}})


LOSSES = ("deleted", "emptied", "password", "clientPassword", "secretKey", "username")


@pytest.mark.parametrize("how", LOSSES)
async def test_a_lost_secret_is_made_again_as_it_was_while_an_operator_knows_it(
    world: World, how: str
) -> None:
    login = await world.begin()
    before, users = world.known, dict(world.mlflow.users)
    lose(world, how)
    assert await world.look() == login
    assert (world.known, world.mlflow.users) == (before, users)
    assert world.mlflow.asked == ["log in admin", "log in team"]


async def test_a_lost_secret_is_a_reason_to_ask_mlflow_whether_it_still_fits(world: World) -> None:
    await world.begin()
    world.mlflow.users["admin"] = "of a database out of a backup"
    await world.look()
    lose(world, "deleted")
    with pytest.raises(AdminRefused):
        await world.look()


async def test_a_secret_out_of_an_old_backup_is_replaced_by_what_clients_have(world: World) -> None:
    await world.begin()
    old = world.api.objects[PLACE]
    world.pass_seconds(60)
    login = await world.look("please")
    before, users = world.known, dict(world.mlflow.users)
    world.put(old)
    assert await world.look("please") == login
    assert (world.known, world.mlflow.users) == (before, users)


async def test_after_a_restart_clients_keep_their_password_and_the_admin_waits_for_another(
    world: World,
) -> None:
    login = await world.begin()
    client = build_client_secret(world.server, None, world.known)
    assert client
    world.api.store(client)
    lose(world, "deleted")
    world.restart()
    with pytest.raises(AdminRefused):
        await world.look()
    assert (world.known.user, world.known.user_password) == (login.username, login.password)
    world.mlflow.users["admin"] = world.known.admin_password  # by the Job
    assert await world.look() == login
    assert world.mlflow.users["team"] == login.password


async def test_after_a_revocation_a_lost_secret_takes_no_password_from_clients(world: World) -> None:
    login = await world.begin()
    client = build_client_secret(world.server, None, world.known)
    assert client
    world.api.store(client)
    lose(world, "deleted")
    world.restart()
    assert (await world.credentials(revocation="leaked")).user_password != login.password


async def test_a_password_that_is_edited_while_an_operator_runs_becomes_mlflows(world: World) -> None:
    await world.begin()
    secret = world.api.objects[PLACE]
    world.put(secret | {"data": secret["data"] | {"password": "YW5vdGhlci1wYXNzd29yZA=="}})
    await world.look()
    assert world.mlflow.users["admin"] == "another-password"
