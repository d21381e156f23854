"""What the API server answers when it does not do as asked, and which kind of failure that is."""

from http import HTTPStatus

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import CONFLICT_RETRY_SECONDS, Failure, Invalid, Unavailable, Waiting

NO_ANSWER = 0
"""The ``status`` of an ApiError when no answer came at all: refused, reset, timed out."""

_QUOTA_WORDS = ("exceeded quota", "failed quota", "status unknown for quota")

TERMINATING_RETRY_SECONDS = 30.0


class ApiError(Exception):
    """The API server refused a request or did not answer.

    ``status`` is the HTTP status (``NO_ANSWER`` without one), ``reason`` the machine-readable word of
    ``metav1.Status`` (``AlreadyExists``, ``Invalid``, …), ``message`` its sentence, ``causes`` the words of
    its causes and ``retry_after`` the seconds that the server asked to be left alone.
    """

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        causes: tuple[str, ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(f"{status} {reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.causes = causes
        self.retry_after = retry_after

    @property
    def is_namespace_terminating(self) -> bool:
        """Whether the namespace is being deleted, so that nothing can be created in it."""
        return "NamespaceTerminating" in self.causes

    @property
    def is_quota_exceeded(self) -> bool:
        """Whether a ResourceQuota of the namespace left no room, or has not been computed yet."""
        return self.status == HTTPStatus.FORBIDDEN and is_of_a_quota(self.message)

    @property
    def is_missing_permission(self) -> bool:
        """Whether RBAC refused the request: admission plugins say 403 as well, RBAC says ``cannot``."""
        return self.status == HTTPStatus.FORBIDDEN and " cannot " in self.message


def is_of_a_quota(message: str) -> bool:
    """Whether a refusal is the word of a ResourceQuota (kubernetes, apiserver/pkg/admission/plugin/resourcequota)."""
    return any(words in message for words in _QUOTA_WORDS)


def failure_from(error: ApiError, what: str) -> Failure:
    """Say which kind of failure an error is; ``what`` names the attempt: ``write Service team-a/mlflow``."""
    reason, explanation = _explain(error)
    message = f"Could not {what}: {explanation}"
    if error.is_namespace_terminating:
        return Waiting(reason, message, retry_after=TERMINATING_RETRY_SECONDS)
    match error.status:
        case HTTPStatus.CONFLICT:
            return Waiting(reason, message, retry_after=CONFLICT_RETRY_SECONDS)
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Invalid(reason, message)
        case HTTPStatus.TOO_MANY_REQUESTS if error.retry_after:
            return Waiting(reason, message, retry_after=error.retry_after)
        case _:
            return Unavailable(reason, message)


def _explain(error: ApiError) -> tuple[Reason, str]:
    if error.is_namespace_terminating:
        return Reason.NAMESPACE_TERMINATING, "the namespace is being deleted. Use another namespace."
    if error.is_quota_exceeded:
        return Reason.QUOTA_EXCEEDED, f"{error.message}. Raise the ResourceQuota or free some of it."
    match error.status:
        case HTTPStatus.CONFLICT:
            return Reason.API_ERROR, "it changed in the meantime. The operator tries again by itself."
        case HTTPStatus.BAD_REQUEST | HTTPStatus.UNPROCESSABLE_ENTITY:
            return Reason.INVALID_SPEC, f"{error.message}. Change the field that this names."
        case HTTPStatus.FORBIDDEN:
            remedy = (
                "Give the operator's ServiceAccount this permission."
                if error.is_missing_permission
                else "An admission policy of the cluster refuses it."
            )
            return Reason.API_ERROR, f"{error.message}. {remedy}"
        case _:
            answer = error.message or error.reason
            return Reason.API_ERROR, f"{answer}. The operator tries again by itself."
