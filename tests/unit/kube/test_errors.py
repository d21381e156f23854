"""Which kind of failure an answer of the API server is, and whether its sentence helps."""

import pytest

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable, Waiting
from tracking_operator.kube.errors import NO_ANSWER, ApiError, failure_from

TERMINATING = ApiError(
    403,
    "Forbidden",
    "unable to create new content in namespace team-a because it is being terminated",
    causes=("NamespaceTerminating",),
)

CASES: list[tuple[str, ApiError, type[Failure], Reason, str]] = [
    ("namespace being deleted", TERMINATING, Waiting, Reason.NAMESPACE_TERMINATING, "another namespace"),
    (
        "quota",
        ApiError(403, "Forbidden", 'pods "x" is forbidden: exceeded quota: small, requested: cpu=1'),
        Unavailable,
        Reason.QUOTA_EXCEEDED,
        "Raise the ResourceQuota",
    ),
    (
        "missing permission",
        ApiError(403, "Forbidden", 'services is forbidden: User "x" cannot patch resource "services"'),
        Unavailable,
        Reason.API_ERROR,
        "Give the operator's ServiceAccount this permission",
    ),
    (
        "admission policy",
        ApiError(403, "Forbidden", "ValidatingAdmissionPolicy 'no-latest' denied request: no"),
        Unavailable,
        Reason.API_ERROR,
        "admission policy",
    ),
    ("edited meanwhile", ApiError(409, "Conflict", "modified"), Waiting, Reason.API_ERROR, "by itself"),
    ("rejected", ApiError(422, "Invalid", "spec.x: Invalid value"), Invalid, Reason.INVALID_SPEC, "spec.x"),
    ("malformed", ApiError(400, "BadRequest", "bad quantity"), Invalid, Reason.INVALID_SPEC, "bad quantity"),
    ("server error", ApiError(500, "InternalError", "etcd"), Unavailable, Reason.API_ERROR, "by itself"),
    ("no answer", ApiError(NO_ANSWER, "NoAnswer", "refused"), Unavailable, Reason.API_ERROR, "by itself"),
    ("too many, no hint", ApiError(429, "TooManyRequests", "x"), Unavailable, Reason.API_ERROR, "by itself"),
]


@pytest.mark.parametrize(
    ("what", "error", "failure", "reason", "remedy"), CASES, ids=[case[0] for case in CASES]
)
def test_kind_of_failure(
    what: str, error: ApiError, failure: type[Failure], reason: Reason, remedy: str
) -> None:
    found = failure_from(error, "write Service team-a/mlflow")
    assert type(found) is failure
    assert found.reason == reason
    assert found.message.startswith("Could not write Service team-a/mlflow: ")
    assert remedy in found.message


def test_too_many_requests_comes_back_when_the_server_says() -> None:
    found = failure_from(ApiError(429, "TooManyRequests", "slow down", retry_after=7.0), "read")
    assert isinstance(found, Waiting)
    assert found.retry_after == 7.0


def test_error_reads_well_in_a_log() -> None:
    assert str(ApiError(409, "Conflict", "modified")) == "409 Conflict: modified"
