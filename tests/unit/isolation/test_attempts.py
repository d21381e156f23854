"""How what was seen is compared with what has to be seen, and how it is told."""

import ast
from typing import cast

import pytest

from tracking_operator.isolation import attempts
from tracking_operator.isolation.attempts import (
    Area,
    Attempt,
    Book,
    By,
    CannotTryError,
    NotApplicable,
    Refused,
    Row,
    Seen,
    Verdict,
)
from tracking_operator.isolation.by_api.scene import ApiScene, with_fields
from tracking_operator.isolation.pods import CARRIED, Template, key_of, seen_in, source_of
from tracking_operator.isolation.runner import all_attempts, seen_of
from tracking_operator.isolation.table import as_markdown, as_text, summary
from tracking_operator.kube.errors import NO_ANSWER, ApiError

DENIED = Attempt("databases/x", Area.DATABASES, By.TENANT, "another's", "connect", "permission denied")
CONTROL = Attempt("databases/own", Area.DATABASES, By.TENANT, "its own", "connect")


@pytest.mark.parametrize(
    ("attempt", "seen", "expected"),
    [
        (DENIED, Seen(Verdict.REFUSED, "FATAL: permission denied for database"), True),
        (DENIED, Seen(Verdict.REFUSED, "connection refused"), False),
        (DENIED, Seen(Verdict.DONE, "permission denied"), False),
        (DENIED, Seen(Verdict.NOT_TRIED, "permission denied"), False),
        (DENIED, Seen(Verdict.NOT_APPLICABLE), True),
        (CONTROL, Seen(Verdict.DONE), True),
        (CONTROL, Seen(Verdict.REFUSED, "anything"), False),
        (CONTROL, Seen(Verdict.NOT_TRIED), False),
    ],
)
def test_only_a_refusal_for_the_right_reason_is_as_expected(
    attempt: Attempt, seen: Seen, expected: bool
) -> None:
    assert Row(attempt, seen).is_as_expected is expected


@pytest.mark.parametrize(
    ("outcome", "verdict"),
    [
        (Refused("no"), Verdict.REFUSED),
        (ApiError(403, "Forbidden", "no"), Verdict.REFUSED),
        (ApiError(NO_ANSWER, "NoAnswer", "no answer"), Verdict.NOT_TRIED),
        (CannotTryError("it is gone"), Verdict.NOT_TRIED),
        (NotApplicable("the cluster knows no HTTPRoutes"), Verdict.NOT_APPLICABLE),
    ],
    ids=repr,
)
async def test_what_an_attempt_raises_says_what_came_of_it(outcome: Exception, verdict: Verdict) -> None:
    async def act(scene: ApiScene) -> None:
        raise outcome

    seen = await seen_of(act, cast(ApiScene, None))
    assert (seen.verdict, seen.words) == (verdict, str(outcome))


def test_a_class_like_another_differs_in_the_fields_that_are_named() -> None:
    spec = {"naming": {"host": "a", "path": "/"}, "s3": {"identity": {"versitygw": {}}}}
    changes: dict[str, object] = {"naming.host": None, "s3.identity": {"irsa": {}}, "limits.maxReplicas": 1}
    assert with_fields(spec, changes) == {
        "naming": {"path": "/"},
        "s3": {"identity": {"irsa": {}}},
        "limits": {"maxReplicas": 1},
    }
    assert spec == {"naming": {"host": "a", "path": "/"}, "s3": {"identity": {"versitygw": {}}}}


def test_words_of_others_are_one_short_line_that_a_terminal_can_show() -> None:
    seen = Seen.of(Verdict.REFUSED, "a\n\tb \x1b[31m \u202e" + "c" * 1000)
    assert seen.words.startswith("a b ?[31m ?c")
    assert len(seen.words) == attempts.LONGEST_WORDS


def test_two_attempts_cannot_have_one_name() -> None:
    book = Book[None](Area.NETWORK)
    book.add(DENIED, print)
    with pytest.raises(ValueError, match="databases/x"):
        book.add(DENIED, print)


def test_there_are_enough_attempts_in_each_area_and_a_control_in_those_that_need_one() -> None:
    everything = all_attempts(harmful=True)
    assert len({attempt.id for attempt in everything}) == len(everything) >= 60
    assert {attempt.area for attempt in everything} == set(Area)
    controls = {attempt.area for attempt in everything if attempt.expected is Verdict.DONE}
    assert controls == set(Area)
    assert {attempt.by for attempt in everything} == set(By)


def test_what_may_harm_is_left_out_unless_it_is_asked_for() -> None:
    harmless = all_attempts(harmful=False)
    assert all(attempt.harmless for attempt in harmless)
    assert len(harmless) >= 60
    assert not {attempt.area for attempt in harmless} & {Area.ADDRESSES, Area.NAMES, Area.DELETION}


def test_the_pod_gets_every_file_that_its_program_imports() -> None:
    package = "tracking_operator."
    carried = {path.removesuffix(".py").replace("/", ".") for path in CARRIED}
    for path in CARRIED:
        for node in ast.walk(ast.parse(source_of(path))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(package):
                module = (node.module or "").removeprefix(package)
                names = {f"{module}.{alias.name}" for alias in node.names}
                assert module in carried or names <= carried, f"{path} imports {node.module}"
    assert len({key_of(path) for path in CARRIED}) == len(CARRIED)


def test_what_a_pod_prints_beside_its_rows_is_left_out() -> None:
    printed = 'WARNING: x\n{"id": "a/b", "verdict": "refused", "words": "no"}\nready\n'
    assert seen_in(printed) == {"a/b": Seen(Verdict.REFUSED, "no")}


def test_an_attacker_takes_over_image_variables_and_secrets_and_no_volume_that_one_pod_may_have() -> None:
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in ("keys", "scratch", "data")]
    container = {"name": "mlflow", "image": "i", "env": [{"name": "A", "value": "b"}], "volumeMounts": mounts}
    volumes = [
        {"name": "keys", "secret": {"secretName": "mlflow-artifacts"}},
        {"name": "scratch", "emptyDir": {}},
        {"name": "data", "persistentVolumeClaim": {"claimName": "mlflow-backend-store"}},
    ]
    deployment = {"spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}}}
    assert Template.of(deployment) == Template("i", container["env"], volumes[:1], mounts[:1])  # type: ignore[arg-type]


ROWS = [
    Row(CONTROL, Seen(Verdict.DONE, "kept")),
    Row(DENIED, Seen(Verdict.DONE, "read ns-1234 | of mlflow_x_0123456789abcdef")),
]


def test_the_table_names_stand_ins_and_marks_what_is_otherwise() -> None:
    text = as_text(ROWS, {"ns-1234": "team-b"})
    assert "OTHERWISE" in text.splitlines()[2]
    assert "team-b" in text
    assert "ns-1234" not in text
    markdown = as_markdown(ROWS, {"ns-1234": "team-b"})
    assert markdown.startswith("### Databases\n\n| attempt |")
    assert "team-b \\| of mlflow_x…" in markdown
    assert "0123456789abcdef" not in markdown


def test_the_summary_lists_what_is_otherwise() -> None:
    assert "2 attempts" in summary(ROWS)
    assert "databases/x: done: read" in summary(ROWS)
    assert "databases/own" not in summary(ROWS)
