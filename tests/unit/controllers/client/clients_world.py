"""A server with an MLflow of a dictionary, consumers in other namespaces, and both loops that concern a client."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import cast

from tests.unit.controllers.live import deployment
from tests.unit.controllers.memory_api import MemoryApi
from tests.unit.controllers.server.test_reconciler import Events
from tests.unit.examples import SETTINGS, UID, Manifest, namespace, placed, plan_of, server, tracking_class
from tracking_operator.api.labels_and_annotations import API_VERSION, SERVER_LABEL
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.controllers.client.reconciler import ClientReconciler
from tracking_operator.controllers.kinds import TRACKING_SERVER, TRACKING_SERVER_CLIENT
from tracking_operator.controllers.request import Outcome
from tracking_operator.controllers.server.address.claims import AddressMemory
from tracking_operator.controllers.server.clients.memory import ClientsFound
from tracking_operator.controllers.server.clients.step import ClientsStep
from tracking_operator.controllers.server.clients.users import ClientUsers
from tracking_operator.controllers.server.context import ReconcileContext, ServerMemory
from tracking_operator.controllers.server.plan import Plan, make_plan
from tracking_operator.controllers.server.spec.inputs import inputs_of
from tracking_operator.controllers.server.workload.condition_results import observe
from tracking_operator.kube.cache import ObjectCache
from tracking_operator.kube.events import EventRecorder
from tracking_operator.kube.objects import CONFIG_MAP, NAMESPACE, SECRET
from tracking_operator.mlflow.client import ALREADY_EXISTS, Answer, Login, MlflowApi, Target
from tracking_operator.resources.auth_secret import LoginCredentials
from tracking_operator.resources.client_secret import ClientLogin, client_login_in

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
ADMIN = Login("admin", "password-of-the-admin")
TEAM = Login("team", "password-of-the-team")
BY_NAME: Manifest = {"namespaces": [{"name": "consumer", "permission": "EDIT"}]}


@dataclass
class FakeMlflow:
    """MLflow's users, what they were granted, and what it was asked."""

    users: dict[str, str] = field(
        default_factory=lambda: {ADMIN.username: ADMIN.password, TEAM.username: TEAM.password}
    )
    granted: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    away: Answer | None = None

    async def log_in(self, target: Target, login: Login) -> Answer:
        self.asked.append("log in")
        return self.away or Answer(200 if self.users.get(login.username) == login.password else 401)

    async def create_user(self, target: Target, admin: Login, user: Login) -> Answer:
        if user.username in self.users:
            return Answer(400, "exists", ALREADY_EXISTS)
        return self._change("create", admin, lambda: self.users.update({user.username: user.password}))

    async def update_password(self, target: Target, admin: Login, user: Login) -> Answer:
        return self._change("change", admin, lambda: self.users.update({user.username: user.password}))

    async def usernames(self, target: Target, admin: Login) -> tuple[Answer, frozenset[str]]:
        answer = self._change("list", admin, lambda: None)
        return answer, frozenset(self.users) if answer.is_ok else frozenset()

    async def delete_user(self, target: Target, admin: Login, username: str) -> Answer:
        return self._change("delete", admin, lambda: self.users.pop(username))

    async def grant_all(self, target: Target, admin: Login, username: str, permission: str) -> Answer:
        return self._change("grant", admin, lambda: self.granted.update({username: permission}))

    def _change(self, what: str, admin: Login, change: Callable[[], object]) -> Answer:
        self.asked.append(what)
        if self.away or admin != ADMIN:
            return self.away or Answer(401)
        change()
        return Answer(200)

    @property
    def consumers(self) -> set[str]:
        """The users that are neither the admin nor the team's."""
        return set(self.users) - {ADMIN.username, TEAM.username}


class World:
    """What the API server has, and an operator."""

    def __init__(
        self, grants: Manifest | None = None, *, login: Manifest | None = None, spec: Manifest | None = None
    ) -> None:
        self.api, self.events, self.mlflow = MemoryApi(), Events(), FakeMlflow()
        authentication = {"basic": {}} if login is None else login
        self.class_ = tracking_class({"access": {"authentication": authentication}}, is_default=True)
        for name in ("team-a", "consumer", "stranger"):
            self.api.store(namespace(name, f"uid-of-{name}"))
        self.store("TrackingServerClass", "standard", "", self.class_.as_kubernetes()["spec"])
        clients = BY_NAME if grants is None else grants
        wanted: Manifest = (spec or {}) | {"access": {"clients": clients}}
        known = placed(plan_of(server(wanted), self.class_))
        self.api.store(
            {
                "apiVersion": API_VERSION,
                "kind": "TrackingServer",
                "metadata": {"name": "mlflow", "namespace": "team-a", "uid": UID},
                "spec": wanted,
                "status": known,
            }
        )
        self.serves = True
        self.restart()

    def restart(self) -> None:
        """An operator with an empty memory."""
        self.cache = ObjectCache(owner_label=SERVER_LABEL)
        users = ClientUsers(cast(MlflowApi, self.mlflow))
        self.memory = ServerMemory("team-a", "mlflow", UID, AddressMemory())
        self.step = ClientsStep(self.cache, users)
        self.loop = ClientReconciler(
            self.api.as_client(),
            self.cache,
            cast(EventRecorder, self.events),
            users,
            lambda namespace, name, uid: self.memory.clients if uid == UID else None,
            settings=SETTINGS,
            now=lambda: NOW,
        )

    def store(self, kind: str, name: str, namespace_: str, spec: Manifest, **metadata: object) -> None:
        place: Manifest = {"namespace": namespace_} if namespace_ else {}
        known: Manifest = next(
            (
                obj["metadata"]
                for (of_kind, ns, n), obj in self.api.objects.items()
                if (of_kind.kind, ns or "", n) == (kind, namespace_, name)
            ),
            {},
        )
        self.api.store(
            {
                "apiVersion": API_VERSION,
                "kind": kind,
                "metadata": known | {"name": name} | place | metadata,
                "spec": spec,
                **({"status": self._status_of(kind, namespace_, name)} if known else {}),
            }
        )

    def _status_of(self, kind: str, namespace_: str, name: str) -> Manifest:
        for (of_kind, ns, n), obj in self.api.objects.items():
            if (of_kind.kind, ns or "", n) == (kind, namespace_, name):
                return obj.get("status") or {}
        return {}

    def grant(self, clients: Manifest) -> None:
        """The owner grants this, and nothing else."""
        live = self.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        self.store("TrackingServer", "mlflow", "team-a", live["spec"] | {"access": {"clients": clients}})

    def ask(
        self,
        in_: str = "consumer",
        name: str = "runs",
        permission: str = "EDIT",
        more: Manifest | None = None,
        **metadata: object,
    ) -> None:
        """A consumer asks."""
        spec = (more or {}) | {
            "serverRef": {"namespace": "team-a", "name": "mlflow"},
            "permission": permission,
        }
        self.store("TrackingServerClient", name, in_, spec, **metadata)

    def make_again(self, name: str) -> None:
        """A namespace goes with all that is in it, and another one gets its name."""
        for place in [one for one in self.api.objects if one[1] == name]:
            del self.api.objects[place]
        del self.api.objects[NAMESPACE, None, name]
        self.api.store(namespace(name, f"another-uid-of-{name}"))

    async def settle(self, *, resync: bool = False) -> ClientsFound:
        """Let both loops run until nothing is left to do."""
        found = ClientsFound(None)
        for round_ in range(4):
            found = await self.look_at_server(resync=resync and not round_)
            for kind, of_namespace, name in list(self.api.objects):
                if kind == TRACKING_SERVER_CLIENT:
                    await self.look_at_client(of_namespace or "", name, resync=resync and not round_)
        return found

    async def look_at_server(self, *, resync: bool = False) -> ClientsFound:
        """As the server's own loop does: plan, record, let clients in, report."""
        self.catch_up()
        live = self.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        resource = TrackingServer.model_validate(live)
        plan = self.plan(resource)
        resource = resource.updated(
            status=resource.status.updated(granted_namespaces=plan.granted_namespaces)
        )
        self._write_status(resource)
        if resync:
            self.memory.invalidate()
        context = ReconcileContext(live, resource, self.memory, NOW, passwords=_passwords())
        context.plan, context.model = plan, plan.model
        children = [deployment(available=1 if self.serves else 0)]
        found = (await self.step.ensure(context, observe(children, plan.model))).found
        self._write_status(resource.updated(status=resource.status.updated(has_client_users=found.has_users)))
        return found

    def plan(self, resource: TrackingServer | None = None) -> Plan:
        self.catch_up()
        live = self.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        resource = resource or TrackingServer.model_validate(live)
        return make_plan(resource, inputs_of(resource, self.cache), SETTINGS)

    async def look_at_client(
        self, in_: str = "consumer", name: str = "runs", *, resync: bool = False
    ) -> Outcome:
        self.catch_up()
        return await self.loop.reconcile(in_, name, resync=resync)

    def _write_status(self, resource: TrackingServer) -> None:
        live = self.api.objects[TRACKING_SERVER, "team-a", "mlflow"]
        self.api.store(live | {"status": resource.status.as_kubernetes()})
        self.catch_up()

    def catch_up(self) -> None:
        """The informers see what the API server has."""
        for obj in self.api.objects.values():
            self.cache.upsert(obj)
        for kind in (NAMESPACE, SECRET, CONFIG_MAP, TRACKING_SERVER_CLIENT, TRACKING_SERVER):
            for obj in self.cache.list(kind):
                place = kind, obj["metadata"].get("namespace"), obj["metadata"]["name"]
                if place not in self.api.objects:
                    self.cache.remove(obj)

    def secret(self, in_: str = "consumer", name: str = "runs") -> ClientLogin | None:
        return client_login_in(self.api.objects.get((SECRET, in_, f"{name}-client")))

    def config_map(self, in_: str = "consumer", name: str = "runs") -> Manifest | None:
        found = self.api.objects.get((CONFIG_MAP, in_, f"{name}-client"))
        return found["data"] if found else None

    def lets_in(self, login: ClientLogin | None) -> bool:
        return login is not None and self.mlflow.users.get(login.username) == login.password

    def ready(self, in_: str = "consumer", name: str = "runs") -> tuple[str, str]:
        """Status and reason of Ready."""
        found = self.condition(in_, name)
        return found["status"], found["reason"]

    def message(self, in_: str = "consumer", name: str = "runs") -> str:
        said: str = self.condition(in_, name)["message"]
        return said

    def condition(self, in_: str = "consumer", name: str = "runs") -> Manifest:
        status = self.api.objects[TRACKING_SERVER_CLIENT, in_, name]["status"]
        return next(one for one in status["conditions"] if one["type"] == "Ready")

    def status(self, in_: str = "consumer", name: str = "runs") -> Manifest:
        return {
            key: value
            for key, value in self.api.objects[TRACKING_SERVER_CLIENT, in_, name]["status"].items()
            if key not in ("conditions", "observedGeneration")
        }


def _passwords() -> LoginCredentials:
    return LoginCredentials(ADMIN.username, ADMIN.password, TEAM.username, TEAM.password, "key", "", NOW)
