"""Resources as the operator reports on them, with the health that Argo CD is to give them: the examples beside the scripts.

The status of each is made by the code that reports in earnest, from one look of the operator after the other.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final

import yaml

from dev.argocd.scripts import BACKUP, CLIENT, GENERATED, SERVER, SERVER_CLASS, literal_yaml
from dev.chart.markup import Object
from dev.deploy import ROOT
from tracking_operator.api.conditions import Condition, ConditionType, Reason, merge_conditions
from tracking_operator.api.labels_and_annotations import (
    API_VERSION,
    REVOKE_NOW_ANNOTATION,
    ROTATE_CREDENTIALS_ANNOTATION,
)
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_backup import TrackingServerBackupStatus
from tracking_operator.api.tracking_server_class import TrackingServerClass, TrackingServerClassStatus
from tracking_operator.api.tracking_server_client import TrackingServerClientStatus
from tracking_operator.controllers.conditions.condition_result import (
    ConditionResult,
    Verdict,
    problem,
    result_from,
    summarise,
)
from tracking_operator.controllers.server.database.schema_gate import Gate
from tracking_operator.controllers.server.plan import Plan, ReconcileSettings, make_plan
from tracking_operator.controllers.server.spec.inputs import Inputs
from tracking_operator.controllers.server.status import status_of
from tracking_operator.controllers.server.workload.condition_results import condition_results_of, observe
from tracking_operator.failures import Invalid

START: Final = datetime(2026, 1, 1, 10, tzinfo=UTC)
SETTINGS: Final = ReconcileSettings(cluster_name="example", image_repository="tracking-operator/mlflow")
UNSEEN: Final = "The operator has not looked at the latest change yet."
UID: Final = "0b5f5f2e-0000-4000-8000-000000000001"
BACKUP_FOLDER: Final = f".tracking-operator/backups/6f0c5a52-0000-4000-8000-000000000001/{UID}/1/"


@dataclass(frozen=True)
class Example:
    """A resource, and the health that it has: the message is that of its condition Ready, if none is said."""

    name: str
    resource: Object
    health: str
    message: str | None = None

    @property
    def expected(self) -> Object:
        """The health in the form of Argo CD's tests, which leave out an empty message."""
        message = self.message
        if message is None:
            (message,) = (
                one["message"] for one in self.resource["status"]["conditions"] if one["type"] == "Ready"
            )
        return {"status": self.health, **({"message": message} if message else {})}


class Life(ABC):
    """A resource that the operator looks at again and again, every minute."""

    def __init__(self, resource: Object) -> None:
        """Begin with a resource that nobody has looked at."""
        self.resource = resource
        self._now = START
        self._conditions: tuple[Condition, ...] = ()

    def edit(self, spec: Object) -> None:
        """Change the specification: another generation."""
        self.resource["spec"] = spec
        self.resource["metadata"]["generation"] += 1

    def report(self, results: Sequence[ConditionResult], *, answers: bool = False) -> None:
        """Write what one look found; ``answers``: requests are answered meanwhile."""
        self._now += timedelta(minutes=1)
        self._conditions = merge_conditions(
            self._conditions,
            summarise(results, self.ready_message, answers=answers),
            observed_generation=self.generation,
            now=self._now,
        )
        self.resource["status"] = self._status(self._conditions)

    @property
    def generation(self) -> int:
        """How often the specification was written."""
        return int(self.resource["metadata"]["generation"])

    @property
    @abstractmethod
    def ready_message(self) -> str:
        """What Ready says when all is well."""

    @abstractmethod
    def well(self) -> list[ConditionResult]:
        """What is found when all is well."""

    @abstractmethod
    def _status(self, conditions: tuple[Condition, ...]) -> Object: ...


class ServerLife(Life):
    """A server of the class that manifests/samples has: with a database, a prefix and a login of its own."""

    def __init__(self, spec: Object | None = None) -> None:
        """Begin with a server that nobody has looked at."""
        super().__init__(_manifest(SERVER, {"name": "mlflow", "namespace": "team-a"}, spec or {}))

    @property
    def ready_message(self) -> str:
        """What Ready says when all is well."""
        return "MLflow answers at http://localhost:7006/team-a."

    def creating(self) -> list[ConditionResult]:
        """What is found while there is nothing yet."""
        model = self._plan().model
        results = condition_results_of(model, observe([], model), lambda _type: None)
        return [_ok(ConditionType.SPEC_VALID, "The specification can be carried out."), *results]

    def well(self) -> list[ConditionResult]:
        """What is found when all is well."""
        return [
            _ok(ConditionType.SPEC_VALID, "The specification can be carried out."),
            _ok(ConditionType.BACKEND_STORE_READY, "The server's own database is in use."),
            _ok(ConditionType.ARTIFACT_STORE_READY, "The server's own prefix is in use."),
            _ok(ConditionType.SCHEMA_READY, "The schema fits MLflow 3.18.0."),
            _ok(ConditionType.WORKLOAD_READY, "1 of 1 pods are available.", Reason.WORKLOAD_AVAILABLE),
            _ok(ConditionType.EXPOSED, self.ready_message, Reason.REACHABLE),
        ]

    def refused(self) -> list[ConditionResult]:
        """What is found of a specification that cannot be carried out. Raises ValueError: it can."""
        try:
            self._plan()
        except Invalid as failure:
            return with_result(self.well(), result_from(failure, ConditionType.SPEC_VALID))
        raise ValueError(f"{self.resource['spec']} can be carried out")

    def _plan(self) -> Plan:
        sample = yaml.safe_load((ROOT / "manifests" / "samples" / "class.yaml").read_text())
        inputs = Inputs([TrackingServerClass.model_validate(sample)], {"mlflow": "true"}, False, [])
        return make_plan(self._read(), inputs, SETTINGS)

    def _read(self) -> TrackingServer:
        return TrackingServer.model_validate(self.resource)

    def _status(self, conditions: tuple[Condition, ...]) -> Object:
        before = self._read()
        try:
            plan = self._plan()
        except Invalid:
            kept = before.status.updated(observed_generation=self.generation, conditions=conditions)
            return kept.as_kubernetes()
        schema = next((one for one in conditions if one.type == ConditionType.SCHEMA_READY), None)
        observed = observe([], plan.model)
        if schema is not None and schema.is_true:
            found = _ok(ConditionType.SCHEMA_READY, schema.message)
            observed = replace(
                observed, gate=Gate(found, True, "dc11669786a5", login_revision="8606fa83a998")
            )
        return status_of(before, conditions, plan.placement, plan.model, observed).as_kubernetes()


class ClassLife(Life):
    """A class with a PostgreSQL and a bucket."""

    def __init__(self) -> None:
        """Begin with a class that nobody has looked at."""
        stores = {"postgres": {"host": "pg.db.svc", "adminSecretRef": {"name": "pg-admin"}}}
        super().__init__(_manifest(SERVER_CLASS, {"name": "standard"}, stores))

    @property
    def ready_message(self) -> str:
        """What Ready says when all is well."""
        return "Class 'standard' can be used."

    def well(self) -> list[ConditionResult]:
        """What is found when all is well."""
        return [
            _ok(ConditionType.SPEC_VALID, "The class's templates and versions can be used."),
            _ok(
                ConditionType.BACKEND_STORE_READY, "PostgreSQL at pg.db.svc:5432 can be used by mlflow_admin."
            ),
        ]

    def _status(self, conditions: tuple[Condition, ...]) -> Object:
        status = TrackingServerClassStatus(
            observed_generation=self.generation,
            conditions=conditions,
            versions=("3.18.0",),
            default_version="3.18.0",
        )
        return status.as_kubernetes()


class BackupLife(Life):
    """A backup of the server that is called mlflow."""

    def __init__(self) -> None:
        """Begin with a backup that nobody has looked at."""
        metadata = {"name": "before-the-upgrade", "namespace": "team-a"}
        super().__init__(_manifest(BACKUP, metadata, {"serverRef": {"name": "mlflow"}}))

    @property
    def ready_message(self) -> str:
        """What Ready and Complete say when all is stored."""
        return f"3 runs and 2 artifacts are stored in s3://ml-artifacts/{BACKUP_FOLDER}."

    def well(self) -> list[ConditionResult]:
        """What is found when all is stored."""
        return [_ok(ConditionType.COMPLETE, self.ready_message)]

    def _status(self, conditions: tuple[Condition, ...]) -> Object:
        known: Object = {"startedAt": START.isoformat(), "attempt": 1, "folder": BACKUP_FOLDER}
        status = TrackingServerBackupStatus.model_validate(known)
        return status.updated(observed_generation=self.generation, conditions=conditions).as_kubernetes()


class ClientLife(Life):
    """A client of the server that is called mlflow, in another namespace."""

    def __init__(self) -> None:
        """Begin with a client that nobody has looked at."""
        spec = {"serverRef": {"namespace": "team-a", "name": "mlflow"}, "permission": "EDIT"}
        super().__init__(_manifest(CLIENT, {"name": "runs", "namespace": "pipelines"}, spec))

    @property
    def ready_message(self) -> str:
        """What Ready and Connected say when all is there."""
        return (
            "ConfigMap runs-client and Secret runs-client have what pods need to use TrackingServer mlflow in namespace team-a, by "
            "envFrom."
        )

    def well(self) -> list[ConditionResult]:
        """What is found when all is there."""
        return [_ok(ConditionType.CONNECTED, self.ready_message)]

    def _status(self, conditions: tuple[Condition, ...]) -> Object:
        status = TrackingServerClientStatus(
            observed_generation=self.generation,
            conditions=conditions,
            config_map_name="runs-client",
            secret_name="runs-client",  # noqa: S106 - the name of a Secret
            username="client-pipelines-runs-0123456789abcdef-0123456789abcdef",
        )
        return status.as_kubernetes()


def _manifest(kind: str, metadata: Object, spec: Object) -> Object:
    known = {"uid": UID, "generation": 1, "creationTimestamp": "2026-01-01T10:00:00Z"}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": metadata | known, "spec": spec}


def _ok(type_: ConditionType, message: str, reason: Reason = Reason.AS_EXPECTED) -> ConditionResult:
    return ConditionResult(type_, Verdict.OK, reason, message)


def with_result(results: Sequence[ConditionResult], changed: ConditionResult) -> list[ConditionResult]:
    """The results, of which that about the same condition is another one."""
    return [changed if one.type is changed.type else one for one in results]


NO_SECRET: Final = problem(
    ConditionType.BACKEND_STORE_READY,
    Reason.SECRET_NOT_FOUND,
    "There is no Secret 'mlflow-db' in namespace 'team-a', which spec.backendStore.external.uriSecretRef names: create it, or "
    "name another.",
)
NO_ANSWER: Final = problem(
    ConditionType.BACKEND_STORE_READY,
    Reason.STORE_UNREACHABLE,
    "PostgreSQL at pg.db.svc:5432 cannot be reached: Connection refused. Check host, port, firewall and NetworkPolicy.",
)
ASLEEP: Final = ConditionResult(
    ConditionType.WORKLOAD_READY,
    Verdict.AT_REST,
    Reason.SUSPENDED,
    "No pods run because spec.suspend is true or spec.replicas is 0; all data is kept.",
)
ROLLING: Final = problem(
    ConditionType.WORKLOAD_READY,
    Reason.ROLLOUT_IN_PROGRESS,
    "1 of 2 pods run what the specification asks for.",
)
DELETING: Final = problem(
    ConditionType.BACKEND_STORE_READY,
    Reason.DELETION_BLOCKED,
    "The database cannot be dropped: PostgreSQL at pg.db.svc:5432 cannot be reached. The operator goes on trying.",
)
NO_SERVER: Final = problem(
    ConditionType.COMPLETE,
    Reason.SERVER_NOT_FOUND,
    "There is no TrackingServer mlflow in namespace team-a: make it, or delete this backup.",
)
COPYING: Final = problem(
    ConditionType.COMPLETE,
    Reason.PROGRESSING,
    "Job mlflow-backup copies the database and then the artifacts of server mlflow.",
)
TRYING_AGAIN: Final = problem(
    ConditionType.COMPLETE,
    Reason.STORE_UNREACHABLE,
    "PostgreSQL at pg.db.svc:5432 cannot be reached: Connection refused. Another attempt follows.",
)
GIVEN_UP: Final = problem(
    ConditionType.COMPLETE,
    Reason.BACKUP_FAILED,
    "Job mlflow-backup failed: its pod was ended. To try again, delete this backup and make another one.",
)
NOT_GRANTED: Final = problem(
    ConditionType.CONNECTED,
    Reason.NOT_GRANTED,
    "No TrackingServer mlflow in namespace team-a grants anything to namespace pipelines.",
)
NOT_OFFERED: Final = problem(
    ConditionType.CONNECTED,
    Reason.NOT_OFFERED,
    "Every user of the server's login may at least EDIT, so that nobody has READ only: ask for EDIT.",
)
REMOVING: Final = problem(ConditionType.COMPLETE, Reason.DELETING, "What is stored is being removed.")


def server_examples() -> Iterator[Example]:
    """Servers in each state that Argo CD tells apart."""
    yield Example("new", ServerLife().resource, "Progressing", UNSEEN)

    life = ServerLife()
    life.report(life.creating())
    yield Example("creating", life.resource, "Progressing")

    life = ServerLife()
    life.report(with_result(life.creating(), NO_SECRET))
    yield Example("waiting_for_a_secret", life.resource, "Progressing")

    life = ServerLife({"version": "2.0.0"})
    life.report(life.refused())
    yield Example("refused", life.resource, "Degraded")

    yield Example("healthy", _ready_server().resource, "Healthy")

    life = _ready_server()
    life.edit({"replicas": 2})
    yield Example("changed", life.resource, "Progressing", UNSEEN)
    life = _ready_server()
    life.edit({"replicas": 2})
    life.report(with_result(life.well(), ROLLING), answers=True)
    yield Example("rolling_out", life.resource, "Progressing")

    life = _ready_server()
    life.edit({"version": "2.0.0"})
    life.report(life.refused())
    yield Example("refused_change", life.resource, "Degraded")

    life = _ready_server()
    life.report(with_result(life.well(), NO_ANSWER))
    yield Example("store_is_away", life.resource, "Degraded")

    life = _ready_server()
    life.edit({"suspend": True})
    life.report(with_result(life.well(), ASLEEP))
    yield Example("suspended", life.resource, "Suspended")

    life = _ready_server()
    life.resource["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z"
    life.report(with_result(life.well(), DELETING))
    yield Example("deleting", life.resource, "Progressing")


def class_examples() -> Iterator[Example]:
    """Classes likewise."""
    yield Example("new", ClassLife().resource, "Progressing", UNSEEN)

    life = ClassLife()
    life.report(life.well())
    yield Example("healthy", life.resource, "Healthy")

    life = ClassLife()
    life.report(with_result(life.well(), NO_ANSWER))
    yield Example("store_has_never_answered", life.resource, "Progressing")

    life = ClassLife()
    life.report(life.well())
    life.report(with_result(life.well(), NO_ANSWER))
    yield Example("store_is_away", life.resource, "Degraded")

    life = ClassLife()
    superuser = "The admin login 'postgres' is a superuser. Use one that has only CREATEROLE and CREATEDB, or set allowSuperuser."
    life.report(
        with_result(
            life.well(), problem(ConditionType.BACKEND_STORE_READY, Reason.SUPERUSER_REFUSED, superuser)
        )
    )
    yield Example("superuser_refused", life.resource, "Degraded")


def backup_examples() -> Iterator[Example]:
    """Backups likewise."""
    yield Example("new", BackupLife().resource, "Progressing", UNSEEN)

    for name, found, health in (
        ("waiting_for_a_server", NO_SERVER, "Progressing"),
        ("under_way", COPYING, "Progressing"),
        ("another_attempt_follows", TRYING_AGAIN, "Progressing"),
        ("given_up", GIVEN_UP, "Degraded"),
    ):
        life = BackupLife()
        life.report([found])
        yield Example(name, life.resource, health)

    yield Example("complete", _complete_backup().resource, "Healthy")

    life = _complete_backup()
    life.edit(life.resource["spec"] | {"deletionPolicy": "Retain"})
    yield Example("changed", life.resource, "Progressing", UNSEEN)

    life = _complete_backup()
    life.resource["metadata"]["deletionTimestamp"] = "2026-01-01T11:00:00Z"
    life.report([REMOVING])
    yield Example("deleting", life.resource, "Progressing")


def client_examples() -> Iterator[Example]:
    """Clients likewise. One that is not granted yet ends no sync; one that is not any more is in trouble."""
    yield Example("new", ClientLife().resource, "Progressing", UNSEEN)

    for name, found, health in (
        ("not_granted_yet", NOT_GRANTED, "Progressing"),
        ("not_offered", NOT_OFFERED, "Degraded"),
    ):
        life = ClientLife()
        life.report([found])
        yield Example(name, life.resource, health)

    life = ClientLife()
    life.report([NOT_GRANTED])
    life.report(life.well())
    yield Example("connected", life.resource, "Healthy")


def _complete_backup() -> BackupLife:
    life = BackupLife()
    life.report([COPYING])
    life.report(life.well())
    return life


def _ready_server() -> ServerLife:
    life = ServerLife()
    life.report(life.creating())
    life.report(life.well())
    return life


def health_files(kind: str, examples: Iterator[Example]) -> Iterator[tuple[str, str]]:
    """`health_test.yaml` and its `testdata`, by their paths below `resource_customizations/GROUP`."""
    tests = []
    for example in examples:
        path = f"testdata/{example.name}.yaml"
        tests.append({"healthStatus": example.expected, "inputPath": path})
        yield f"{kind}/{path}", _text(example.resource)
    yield f"{kind}/health_test.yaml", _text({"tests": tests})


NORMALIZED: Final = "0001-01-01T00:00:00Z"
"""What Argo CD's test takes a time for that an action has written: that of a test never fits."""


def action_files() -> Iterator[tuple[str, str]]:
    """`action_test.yaml` and its `testdata`, likewise."""
    folder = f"{SERVER}/actions"
    servers = {
        "awake": _ready_server().resource,
        "suspended": _ready_server().resource | {"spec": {"suspend": True}},
        "without_replicas": _ready_server().resource | {"spec": {"replicas": 0}},
        "resumed": _ready_server().resource | {"spec": {"suspend": False}},
        "resumed_with_replicas": _ready_server().resource | {"spec": {"replicas": 1}},
        "rotated": _annotated(_ready_server().resource, ROTATE_CREDENTIALS_ANNOTATION),
        "revoked": _annotated(_ready_server().resource, REVOKE_NOW_ANNOTATION),
        "without_credentials": ServerLife().resource,
    }
    changes = [
        ("suspend", "awake", "suspended"),
        ("resume", "suspended", "resumed"),
        ("resume", "without_replicas", "resumed_with_replicas"),
        ("rotate", "awake", "rotated"),
        ("revoke-now", "awake", "revoked"),
        ("backup", "awake", "backed_up"),
    ]
    tests = {
        "discoveryTests": [
            {"inputPath": f"testdata/{name}.yaml", "result": _available(name)}
            for name in ("awake", "suspended", "without_replicas", "without_credentials")
        ],
        "actionTests": [
            {
                "action": action,
                "inputPath": f"testdata/{before}.yaml",
                "expectedOutputPath": f"testdata/{after}.yaml",
            }
            for action, before, after in changes
        ],
    }
    yield f"{folder}/action_test.yaml", _text(tests)
    # A list of what is made begins with a dash, by which Argo CD's tests know it: no remark can stand before that.
    made = {"k8sOperation": "create", "unstructuredObj": _made_by_the_action()}
    yield f"{folder}/testdata/backed_up.yaml", literal_yaml([made])
    for name, resource in servers.items():
        yield f"{folder}/testdata/{name}.yaml", _text(resource)


def _made_by_the_action() -> Object:
    metadata = {"name": "mlflow-00010101-000000", "namespace": "team-a"}
    return {
        "apiVersion": API_VERSION,
        "kind": BACKUP,
        "metadata": metadata,
        "spec": {"serverRef": {"name": "mlflow"}},
    }


def _annotated(resource: Object, annotation: str) -> Object:
    metadata = resource["metadata"] | {"annotations": {annotation: NORMALIZED}}
    return resource | {"metadata": metadata}


def _available(name: str) -> list[Object]:
    has_credentials = name != "without_credentials"
    return [
        {"name": "suspend", "disabled": name == "suspended", "iconClass": "fa fa-fw fa-pause"},
        {
            "name": "resume",
            "disabled": name not in ("suspended", "without_replicas"),
            "iconClass": "fa fa-fw fa-play",
        },
        {
            "name": "rotate",
            "disabled": not has_credentials,
            "iconClass": "fa fa-fw fa-key",
            "displayName": "Rotate credentials",
        },
        {
            "name": "revoke-now",
            "disabled": not has_credentials,
            "iconClass": "fa fa-fw fa-ban",
            "displayName": "Revoke all access now",
        },
        {
            "name": "backup",
            "disabled": not has_credentials,
            "iconClass": "fa fa-fw fa-archive",
            "displayName": "Back up",
        },
    ]


def _text(value: Object) -> str:
    return f"# {GENERATED}{literal_yaml(value)}"
