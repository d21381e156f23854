"""The table of outcomes: each reason has one row, nobody decides otherwise, and a test provokes each."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tracking_operator import failures
from tracking_operator.api.conditions import ConditionType, Reason, reason_of
from tracking_operator.controllers.conditions.condition_result import Verdict, verdict_on
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting, failure_for
from tracking_operator.outcomes import (
    EXIT_CODES,
    OUTCOMES,
    TERMINAL_EXIT_CODES,
    Blamed,
    RetryClass,
)
from tracking_operator.store_answers import (
    OBJECT_STORE_CODES,
    Answer,
    database_answer,
    object_store_answer,
    silence,
)

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "operator" / "tracking_operator"

PASSES_IN_SPITE = {
    ("routes.py", Reason.TLS_SECRET_NOT_FOUND, Verdict.WORKING),  # cert-manager is making it
    ("condition_results.py", Reason.VOLUME_PENDING, Verdict.BLOCKED),  # nobody has for a minute
}


class TestRows:
    def test_are_one_for_each_reason(self) -> None:
        assert list(OUTCOMES) == [reason.value for reason in Reason], "in the order of api/conditions.py"

    @pytest.mark.parametrize("reason", Reason)
    def test_name_a_condition_that_there_is(self, reason: Reason) -> None:
        named = set(OUTCOMES[reason].home.value.split(" or "))
        assert named == {"any"} or named <= {str(type_) for type_ in ConditionType}

    @pytest.mark.parametrize("reason", Reason)
    def test_blame_nobody_for_what_the_operator_is_at(self, reason: Reason) -> None:
        outcome = OUTCOMES[reason]
        assert outcome.retry is not RetryClass.OPERATOR or outcome.blames is Blamed.NOBODY

    @pytest.mark.parametrize("reason", Reason)
    def test_let_pods_wait_only_for_what_passes_and_what_they_say(self, reason: Reason) -> None:
        outcome = OUTCOMES[reason]
        assert not outcome.pods_wait or (outcome.passes and outcome.exit_code)

    @pytest.mark.parametrize("reason", Reason)
    def test_decide_verdict_and_kind_of_failure_alike(self, reason: Reason) -> None:
        is_final = OUTCOMES[reason].retry is RetryClass.NEVER
        assert (verdict_on(reason) is Verdict.BLOCKED) is is_final
        assert isinstance(failure_for(reason, "Why."), Invalid) is is_final

    def test_have_a_remedy_where_somebody_is_blamed(self) -> None:
        without = [one for one in Reason if not one.remedy and OUTCOMES[one].blames is not Blamed.NOBODY]
        assert without == []


class TestExitCodes:
    def test_differ_and_are_none_that_python_or_a_signal_gives(self) -> None:
        assert len(set(EXIT_CODES.values())) == len(EXIT_CODES)
        assert all(3 <= code < 125 for code in EXIT_CODES.values())

    @pytest.mark.parametrize("reason", EXIT_CODES)
    def test_end_a_job_exactly_where_no_other_attempt_helps(self, reason: str) -> None:
        assert (EXIT_CODES[reason] in TERMINAL_EXIT_CODES) is not OUTCOMES[reason].passes

    def test_are_there_for_whatever_a_store_answers(self) -> None:
        assert {answer.reason for answer in Answer} <= set(EXIT_CODES)
        assert {answer.reason_for_admin for answer in Answer} <= set(OUTCOMES)


class TestAnswers:
    """Each has one class: what the operator and a pod hear may have two reasons, but passes for both or for neither."""

    @pytest.mark.parametrize(
        "answer", [one for one in Answer if one not in (Answer.NO_DATABASE, Answer.INVALID)]
    )
    def test_pass_for_the_admin_as_for_the_server(self, answer: Answer) -> None:
        # A database that is lost stays so until somebody decides; one that a team's URI misspells has never been there.
        assert OUTCOMES[answer.reason].passes is OUTCOMES[answer.reason_for_admin].passes

    def test_of_object_stores_have_each_code_once(self) -> None:
        codes = [code for found in OBJECT_STORE_CODES.values() for code in found]
        assert len(set(codes)) == len(codes)

    @pytest.mark.parametrize(
        ("code", "status", "reason"),
        [
            ("NoSuchBucket", 404, "BucketNotFound"),
            ("", 404, "BucketNotFound"),
            ("NoSuchKey", 404, "StoreFailed"),
            ("QuotaExceeded", 403, "DiskFull"),
            ("XMinioStorageFull", 507, "DiskFull"),
            ("", 507, "DiskFull"),
            ("", 429, "Busy"),
            ("SlowDown", 503, "Busy"),
            ("TooManyBuckets", 400, "QuotaExceeded"),
            ("AllAccessDisabled", 403, "AccessDenied"),
            ("SignatureDoesNotMatch", 403, "LoginRefused"),
            ("RequestTimeTooSkewed", 403, "LoginRefused"),
            ("PermanentRedirect", 301, "BucketElsewhere"),
            ("BucketAlreadyExists", 409, "BucketElsewhere"),
            ("MethodNotAllowed", 405, "UnsupportedUri"),
            ("InternalError", 500, "StoreFailed"),
        ],
    )
    def test_of_object_stores(self, code: str, status: int, reason: str) -> None:
        assert object_store_answer(code, status).reason == reason

    @pytest.mark.parametrize(
        ("text", "reason"),
        [
            ("Could not connect to the endpoint URL: Name or service not known", "HostNotFound"),
            ("SSL validation failed: CERTIFICATE_VERIFY_FAILED", "TlsFailed"),
            ("Connection refused", "StoreUnreachable"),
        ],
    )
    def test_that_never_come(self, text: str, reason: str) -> None:
        assert silence(text).reason == reason

    @pytest.mark.parametrize(
        ("sqlstate", "text", "reason"),
        [
            ("28P01", "", "LoginRefused"),
            ("", 'FATAL: role "x" does not exist', "LoginRefused"),
            ("", "(1045, \"Access denied for user 'x'@'y'\")", "LoginRefused"),
            ("", "FATAL: no pg_hba.conf entry for host", "LoginRefused"),
            ("3D000", "", "LoginRefused"),
            ("42501", "", "LoginRefused"),
            ("53300", "", "TooManyConnections"),
            ("", "FATAL: sorry, too many clients already", "TooManyConnections"),
            ("", "(1040, 'Too many connections')", "TooManyConnections"),
            ("53100", "", "DiskFull"),
            ("", "(1114, \"The table 'x' is full\")", "DiskFull"),
            ("55P03", "", "Busy"),
            ("", "(1205, 'Lock wait timeout exceeded')", "Busy"),
            ("", 'FATAL:  cannot connect to invalid database "x"', "StoreFailed"),
            ("", 'FATAL:  database "x" is not currently accepting connections', "StoreFailed"),
            ("XX000", "tuple concurrently updated", "Busy"),
            ("XX000", "tuple concurrently deleted", "Busy"),
            ("", "(psycopg2.errors.InternalError_) tuple concurrently updated", "Busy"),
            ("XX000", "could not open relation with OID 16423", "StoreFailed"),
            ("XX000", "", "StoreFailed"),
            ("25006", "", "StoreUnreachable"),
            ("", '(2003, "Can\'t connect")', "StoreUnreachable"),
            ("", 'could not translate host name "x" to address', "HostNotFound"),
            ("", "SSL error: certificate verify failed", "TlsFailed"),
            ("", "unsupported startup parameter: options", "UnsupportedUri"),
        ],
    )
    def test_of_databases(self, sqlstate: str, text: str, reason: str) -> None:
        answer = database_answer(sqlstate, text)
        assert answer is not None
        assert answer.reason == reason

    def test_of_an_interrupted_drop_asks_the_platform_team_for_a_decision(self) -> None:
        answer = database_answer("", 'FATAL:  cannot connect to invalid database "x"')
        assert answer is Answer.INVALID
        assert OUTCOMES[answer.reason_for_admin].blames is Blamed.PLATFORM

    @pytest.mark.parametrize("answer", [Answer.CLOSED, Answer.INVALID, Answer.FAILED])
    def test_that_only_somebody_can_help_are_never_said_to_be_on_the_way(self, answer: Answer) -> None:
        for reason in (answer.reason, answer.reason_for_admin):
            assert verdict_on(reason_of(reason)) is not Verdict.WORKING

    @pytest.mark.parametrize("text", ["SSL error: unexpected eof while reading", "server closed", ""])
    def test_of_databases_that_nobody_knows(self, text: str) -> None:
        assert database_answer("", text) is None


class TestFailures:
    def test_of_a_store_come_back_with_a_growing_delay(self) -> None:
        assert isinstance(failure_for(Reason.STORE_UNREACHABLE, "No answer."), Unavailable)

    def test_that_a_person_mends_outside_are_looked_at_in_steady_steps(self) -> None:
        failure = failure_for(Reason.BUCKET_NOT_FOUND, "Create it.")
        assert isinstance(failure, Waiting)
        assert failure.retry_after == failures.UNWATCHED_RETRY_SECONDS

    def test_that_are_known_to_pass_come_back_by_then(self) -> None:
        failure = failure_for(Reason.BUSY, "Slow down.", retry_after=2.0)
        assert isinstance(failure, Waiting)
        assert failure.retry_after == 2.0


@dataclass(frozen=True)
class Decision:
    """A place in the program that names a reason together with what follows from it."""

    place: str
    reason: Reason
    what: type[Failure] | Verdict


def decisions() -> Iterator[Decision]:
    """Read every ``Invalid(Reason.X, …)`` and ``ConditionResult(…, Verdict.Y, Reason.X, …)`` from the program."""
    kinds = {kind.__name__: kind for kind in (Invalid, Waiting, Unavailable)}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call):
                continue
            words = [ast.unparse(one) for one in node.args]
            reasons = [Reason[word.partition(".")[2]] for word in words if word in NAMES]
            verdicts = [verdict for verdict in Verdict if f"Verdict.{verdict.name}" in words]
            kind = kinds.get(ast.unparse(node.func))
            for reason in reasons:
                for what in (kind, *verdicts) if kind else verdicts:
                    yield Decision(f"{path.name}:{node.lineno}", reason, what)


NAMES = {f"Reason.{reason.name}" for reason in Reason}


def agrees(decision: Decision) -> bool:
    """Whether a place says what the table says. A ConditionResult that is well may have any reason: as a remark."""
    outcome = OUTCOMES[decision.reason]
    match decision.what:
        case Verdict.OK | Verdict.AT_REST:
            return True
        case Verdict():
            exception = (decision.place.partition(":")[0], decision.reason, decision.what)
            return decision.what is verdict_on(decision.reason) or exception in PASSES_IN_SPITE
        case kind:
            return (kind is Invalid) is not outcome.passes


def test_nobody_decides_otherwise() -> None:
    found = list(decisions())
    assert len(found) > 50, "the search finds nothing"
    assert [one for one in found if not agrees(one)] == []


ASKED_FOR = ("wait_for", "refused", "condition", "raises", "param")
"""Functions whose arguments say what a test expects."""


def provoking_tests() -> dict[Reason, set[str]]:
    """The tests that expect each reason: in an assertion, in what they wait for, or in a row of their examples."""
    found: dict[Reason, set[str]] = defaultdict(set)
    for path in sorted(TESTS.rglob("test_*.py")):
        if path == Path(__file__):
            continue
        tree = ast.parse(path.read_text())
        shared = dict(definitions_in(tree))
        for test in ast.walk(tree):
            if isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef) and test.name.startswith("test_"):
                for reason in expected_by(test, shared):
                    found[reason].add(f"{path.relative_to(TESTS)}::{test.name}")
    return found


def definitions_in(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """What the tests of a module share: its tables of examples and its functions, by name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("test_"):
            yield node.name, node
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value:
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id, node.value) for target in targets if isinstance(target, ast.Name))


def expected_by(test: ast.FunctionDef | ast.AsyncFunctionDef, shared: dict[str, ast.AST]) -> Iterator[Reason]:
    """The reasons that a test expects."""
    expectations = [node for node in ast.walk(test) if isinstance(node, ast.Assert) or is_expectation(node)]
    for expectation in (*expectations, *test.decorator_list):
        yield from named_in(expectation)
        for node in ast.walk(expectation):
            if isinstance(node, ast.Name) and node.id in shared:
                yield from named_in(shared[node.id])


def is_expectation(node: ast.AST) -> bool:
    """Whether a call says what is expected."""
    if not isinstance(node, ast.Call):
        return False
    name = ast.unparse(node.func).rpartition(".")[2]
    return any(word in name for word in ASKED_FOR)


def named_in(tree: ast.AST) -> Iterator[Reason]:
    """The reasons that a piece of a test names, by member or by word."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node) in NAMES:
            yield Reason[node.attr]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in OUTCOMES:
            yield reason_of(node.value)


def test_a_test_expects_each_reason() -> None:
    found = provoking_tests()
    assert [reason.value for reason in Reason if not found[reason]] == []
