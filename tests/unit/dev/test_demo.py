"""The demo's pure parts: what it asks Kubernetes for, and what it makes of the answers."""

import ast
import io
import json
import re
from pathlib import Path

import pytest
import yaml

from dev.database.manifests import build_class_spec
from dev.demo import training
from dev.demo.failures import DemoError
from dev.demo.forwarding import PORT
from dev.demo.isolation import Attempt, attempts_in, database_of, require_isolation
from dev.demo.jobs import QUIET, Program, build_config_map, build_job
from dev.demo.prefixes import Place, Reach, place_of, reaches_in, require_own_prefixes
from dev.demo.report import how_to_open, table_of_access, table_of_reach, table_of_runs
from dev.demo.server import CLASS, SAMPLE, build_namespace, build_server, news
from dev.demo.server import SERVER as NAME
from dev.demo.tracking import Entry, Metric, ModelVersion, Run, RunData, RunInfo, prefix_of
from dev.demo.watching import objects_in
from dev.ingress.manifests import CLASS_NAME
from dev.object_store.manifests import build_class_spec as build_s3_class_spec
from tracking_operator.api.tracking_server import TrackingServer
from tracking_operator.api.tracking_server_class import TrackingServerClass

TRAIN = Path(training.__file__).parent / "train.py"
PREDICT = TRAIN.with_name("predict.py")

SERVER = TrackingServer.model_validate(
    {
        "metadata": {"name": "mlflow", "namespace": "team-a"},
        "status": {
            "url": "http://localhost:7006/team-a",
            "address": {"url": "http://mlflow.team-a.svc/team-a"},
        },
    }
)


def server_with(**conditions: tuple[str, str]) -> TrackingServer:
    """A server with conditions, each given by its status and its message."""
    found = [
        {
            "type": type_,
            "status": status,
            "reason": "Some",
            "message": message,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for type_, (status, message) in conditions.items()
    ]
    return TrackingServer.model_validate({"status": {"conditions": found}})


def program(**changes: object) -> Program:
    given: dict[str, object] = {
        "name": "train",
        "file": TRAIN,
        "client": "mlflow-client",
        "image": "some/image:1",
    }
    return Program(**{**given, **changes})  # type: ignore[arg-type]


def run(run_id: str, alpha: str, rmse: float | None = None, commit: str = "") -> Run:
    return Run(
        info=RunInfo(
            run_id=run_id, run_name="", experiment_id="1", status="FINISHED", start_time=1_800_000_000_000
        ),
        data=RunData(
            params=(Entry(key="alpha", value=alpha), Entry(key="test_size", value="0.25")),
            metrics=() if rmse is None else (Metric(key="rmse", value=rmse),),
            tags=(Entry(key="mlflow.source.git.commit", value=commit),) if commit else (),
        ),
    )


def version(number: str, run_id: str) -> ModelVersion:
    return ModelVersion(name="wine-alcohol", version=number, run_id=run_id, status="READY")


def constants(file: Path) -> dict[str, object]:
    """The strings that a program gives names to."""
    return {
        statement.targets[0].id: statement.value.value
        for statement in ast.parse(file.read_text()).body
        if isinstance(statement, ast.Assign)
        and isinstance(statement.targets[0], ast.Name)
        and isinstance(statement.value, ast.Constant)
    }


# What kubectl prints


def test_objects_are_told_apart_as_they_arrive() -> None:
    objects: list[dict[str, object]] = [{"a": {"b": [{}]}}, {"text": "}\n{"}]
    printed = "".join(f"{json.dumps(one, indent=4)}\n" for one in objects)
    assert list(objects_in(io.StringIO(printed))) == objects


def test_an_object_that_was_cut_off_is_left_out() -> None:
    assert list(objects_in(["{\n", '    "a": 1\n'])) == []


# What the demo asks for


def test_the_pod_is_one_that_the_restricted_standard_admits() -> None:
    pod = build_job(program())["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_program_learns_the_address_from_the_servers_own_config_map() -> None:
    (container,) = build_job(program())["spec"]["template"]["spec"]["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "mlflow-client"}}]
    assert not [variable for variable in container["env"] if "URI" in variable["name"]]


def test_the_program_logs_in_with_the_servers_own_secret_where_there_is_one() -> None:
    (container,) = build_job(program(login="mlflow-client"))["spec"]["template"]["spec"]["containers"]
    assert {"secretRef": {"name": "mlflow-client"}} in container["envFrom"]


def test_the_program_gets_its_arguments_and_environment() -> None:
    wanted = program(arguments=["--alphas", "1"], environment={"GIT_COMMIT": "abc"})
    (container,) = build_job(wanted)["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "/opt/demo/train.py", "--alphas", "1"]
    assert {"name": "GIT_COMMIT", "value": "abc"} in container["env"]
    assert {entry["name"] for entry in container["env"]} == {*QUIET, "HOME", "GIT_COMMIT"}


def test_the_config_map_is_the_program_as_it_is_in_the_repository() -> None:
    assert build_config_map(program())["data"] == {"train.py": TRAIN.read_text()}


def test_what_a_job_runs_is_the_config_map_of_its_program() -> None:
    job, config_map = build_job(program()), build_config_map(program())
    volumes = job["spec"]["template"]["spec"]["volumes"]
    assert volumes[0]["configMap"]["name"] == config_map["metadata"]["name"]


@pytest.mark.parametrize("file", [TRAIN, PREDICT], ids=lambda file: file.name)
def test_the_demo_reads_what_the_programs_write(file: Path) -> None:
    written = constants(file)
    known = {name: getattr(training, name) for name in ("EXPERIMENT", "MODEL", "ALIAS") if name in written}
    assert known == {name: written[name] for name in known}
    assert {"MODEL", "ALIAS"} <= known.keys()


@pytest.mark.parametrize("file", [TRAIN, PREDICT], ids=lambda file: file.name)
def test_the_programs_know_nothing_of_kubernetes_or_of_this_repository(file: Path) -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(file.read_text()))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [str(node.module)]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {"argparse", "os", "matplotlib", "mlflow", "pandas", "sklearn"}


def test_the_commit_is_that_of_the_working_tree() -> None:
    commit = training.git_commit()
    assert commit == "" or (len(commit) == 40 and int(commit, 16))


# What it makes of the answers


def test_news_are_what_became_true_and_what_is_waited_for() -> None:
    before = server_with(Ready=("False", "Waits for a volume."), SchemaReady=("False", "Waits."))
    after = server_with(
        Ready=("False", "The pod starts."),
        SchemaReady=("True", "At abc."),
        Reconciling=("True", "The pod starts."),
    )
    assert news(TrackingServer(), before) == ["Ready=False (Some) Waits for a volume."]
    assert news(before, after) == ["Ready=False (Some) The pod starts.", "SchemaReady=True (Some) At abc."]
    assert news(after, after) == []


def test_the_table_has_a_line_per_run_and_marks_the_version_with_the_alias() -> None:
    runs = [run("b" * 32, "0.1", 0.51234, "c" * 40), run("a" * 32, "1.0")]
    table = table_of_runs(
        runs, [version("1", "a" * 32), version("2", "b" * 32)], "staging", version("2", "b" * 32)
    )
    heading, first, second = table.splitlines()
    assert heading.split()[-4:] == ["r2", "commit", "registered", "as"]
    assert "bbbbbbbb  0.1    0.25       0.512" in first
    assert first.endswith("ccccccc  wine-alcohol v2 @staging")
    assert second.endswith("wine-alcohol v1")


def test_a_long_table_ends_with_how_much_was_left_out() -> None:
    runs = [run(f"{number:032d}", "1.0") for number in range(23)]
    lines = table_of_runs(runs, [], "staging", version("1", runs[0].info.run_id)).splitlines()
    assert (len(lines), lines[-1]) == (1 + 20 + 1, "… and 3 older runs")


def test_how_to_open_names_each_url_and_whole_commands_that_print_the_passwords() -> None:
    text = how_to_open([SERVER], "kubectl", Path(".cluster/kubeconfig"))
    assert "team-a: http://localhost:7006/team-a\n" in text
    for secret in ("mlflow-client", "mlflow-auth"):
        assert f"kubectl --kubeconfig .cluster/kubeconfig --namespace team-a get secret {secret} " in text
    assert "MLFLOW_TRACKING_URI=http://localhost:7006/team-a uv run" in text


def test_a_server_is_asked_under_its_prefix() -> None:
    assert prefix_of(SERVER) == "/team-a"
    assert prefix_of(TrackingServer()) == ""


def test_the_sample_is_the_smallest_server_there_is() -> None:
    assert SAMPLE.read_text().endswith("spec: {}\n")


def test_each_team_gets_the_sample_in_its_own_namespace() -> None:
    sample = yaml.safe_load(SAMPLE.read_text())
    assert build_server("team-a") == sample | {"metadata": sample["metadata"] | {"namespace": "team-a"}}
    assert build_server("team-b")["metadata"] == {"name": NAME, "namespace": "team-b"}


def test_the_class_is_the_default_and_lets_the_teams_in() -> None:
    offer = TrackingServerClass.model_validate(yaml.safe_load(CLASS.read_text()))
    assert offer.metadata.annotations["tracking-operator.dev/is-default-class"] == "true"
    allowed = offer.spec.allowed_namespaces
    assert allowed and allowed.match_labels.items() <= build_namespace("team-a")["metadata"]["labels"].items()


def test_the_class_uses_the_postgres_that_the_demo_deploys() -> None:
    assert yaml.safe_load(CLASS.read_text())["spec"]["postgres"] == build_class_spec("postgres")


def test_the_class_uses_the_ingress_controller_and_the_port_that_the_demo_deploys() -> None:
    spec = yaml.safe_load(CLASS.read_text())["spec"]
    assert spec["access"]["ingress"]["className"] == CLASS_NAME
    assert spec["access"]["publicURL"] == f"http://{spec['naming']['host']}:{PORT}"


def test_the_class_uses_the_s3_server_that_the_demo_deploys() -> None:
    assert yaml.safe_load(CLASS.read_text())["spec"]["s3"] == build_s3_class_spec("s3")


# Who may open which database

REFUSED = (
    'connection to server at "postgres.postgres.svc" (10.0.0.1), port 5432 failed: FATAL:  permission denied for '
    'database "b"\nDETAIL:  User does not have CONNECT privilege.\n'
)
WORDS = 'FATAL: permission denied for database "b" DETAIL: User does not have CONNECT privilege.'
OWN = Attempt("team-a", "a", True, None)
OTHER = Attempt("team-a", "b", False, REFUSED)


def test_what_a_pod_printed_is_one_attempt_per_database() -> None:
    assert attempts_in(json.dumps({"a": None, "b": REFUSED}), "team-a", "a") == [OWN, OTHER]


def test_a_pod_that_says_nothing_is_a_failure() -> None:
    with pytest.raises(DemoError, match="The pod of team-a did not say which databases it opened"):
        attempts_in("", "team-a", "a")


def test_the_table_says_yes_no_and_why_in_the_servers_words() -> None:
    attempts = [OWN, OTHER, Attempt("team-b", "a", False, REFUSED), Attempt("team-b", "b", True, None)]
    lines = table_of_access(attempts).splitlines()
    assert [line.split() for line in lines[:3]] == [
        ["may", "open", "a", "b"],
        ["team-a", "yes", "no"],
        ["team-b", "no", "yes"],
    ]
    assert lines[4:] == [f"team-a  b  {WORDS}", f"team-b  a  {WORDS}"]


def test_isolation_is_own_yes_and_other_no() -> None:
    require_isolation([OWN, OTHER])


@pytest.mark.parametrize(
    ("attempt", "complaint"),
    [
        (Attempt("team-a", "b", False, None), "team-a could open b, which is not its own"),
        (Attempt("team-a", "a", True, REFUSED), f"team-a cannot open its own database a: {WORDS}"),
        (
            Attempt("team-a", "b", False, 'FATAL:  password authentication failed for user "x"'),
            'team-a could not try b: FATAL: password authentication failed for user "x"',
        ),
        (Attempt("team-a", "b", False, "timeout expired"), "team-a could not try b: timeout expired"),
    ],
)
def test_anything_else_is_a_failure_that_says_what_it_is(attempt: Attempt, complaint: str) -> None:
    with pytest.raises(DemoError, match=f"^{re.escape(complaint)}"):
        require_isolation([OWN, attempt, OTHER])


def test_a_server_without_a_database_of_its_own_is_explained() -> None:
    with pytest.raises(DemoError, match="it was made before its class had a PostgreSQL"):
        database_of(SERVER)


# Who may do what in the bucket

DENIED = "An error occurred (AccessDenied) when calling the PutObject operation: Access Denied."


def reach(
    team: str, folder: str, refusal: str | None = None, *, is_own: bool = False, action: str = "put"
) -> Reach:
    return Reach(team, action, folder, is_own, refusal)


def test_what_a_pod_printed_is_one_attempt_per_folder_and_action() -> None:
    printed = json.dumps({"a/m/": {"put": None, "get": None}, "": {"put": DENIED}})
    assert reaches_in(printed, "a", "a/m/") == [
        reach("a", "a/m/", is_own=True),
        reach("a", "a/m/", is_own=True, action="get"),
        reach("a", "", DENIED),
    ]


def test_a_pod_that_says_nothing_of_the_bucket_is_a_failure() -> None:
    with pytest.raises(DemoError, match="The pod of a did not say what it may do in the bucket"):
        reaches_in("", "a", "a/m/")


def test_the_table_of_the_bucket_has_a_column_per_action_and_the_stores_words() -> None:
    actions = ("put", "get", "list", "delete")
    attempts = [
        *(reach("a", "a/m/", is_own=True, action=action) for action in actions),
        *(reach("a", "", DENIED, action=action) for action in actions),
        *(reach("a", "b/m/", DENIED, action=action) for action in actions),
    ]
    heading, *lines = table_of_reach(attempts).splitlines()
    assert heading.split() == ["may", "in", *actions]
    assert lines[0].split() == ["a", "a/m/", "yes", "yes", "yes", "yes"]
    assert lines[1].split() == ["a", "b/m/", "no", "no", "no", "no"]
    assert lines[2].split() == ["a", "(whole", "bucket)", "no", "no", "no", "no"]
    assert lines[4].split() == ["a", "put", "(whole", "bucket)", *DENIED.split()]


def test_own_prefixes_are_own_yes_and_other_no() -> None:
    require_own_prefixes(
        [reach("a", "a/m/", is_own=True), reach("a", "b/m/", DENIED), reach("a", "", DENIED)]
    )


@pytest.mark.parametrize(
    ("attempt", "complaint"),
    [
        (reach("a", "b/m/"), "a could put in b/m/, which is not its own."),
        (reach("a", ""), "a could put in the whole bucket, which is not its own."),
        (reach("a", "a/m/", DENIED, is_own=True), f"a cannot put in its own prefix a/m/: {DENIED}"),
        (reach("a", "b/m/", "Read timeout"), "a could not try to put in b/m/: Read timeout"),
    ],
)
def test_any_other_reach_is_a_failure_that_says_what_it_is(attempt: Reach, complaint: str) -> None:
    with pytest.raises(DemoError, match=f"^{re.escape(complaint)}"):
        require_own_prefixes([reach("a", "a/m/", is_own=True), attempt])


def test_the_prefix_of_a_server_is_its_artifact_root() -> None:
    status = {"artifactRoot": "s3://ml-artifacts/team-a/mlflow"}
    assert place_of(TrackingServer.model_validate({"status": status})) == Place(
        "ml-artifacts", "team-a/mlflow/"
    )


def test_a_server_without_a_prefix_of_its_own_is_explained() -> None:
    with pytest.raises(DemoError, match="it was made before its class had a bucket"):
        place_of(SERVER)
