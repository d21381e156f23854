"""Changes a bucket's policy: read, merge, write, read back, and again if somebody else has won."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Final

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Failure, Invalid, Unavailable
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_lock import FOR_THE_CLASS, alone_on
from tracking_operator.stores.s3.clients import s3_client
from tracking_operator.stores.s3.errors import answer_of, asking, code_of, says
from tracking_operator.stores.s3.policy import Document, Statement
from tracking_operator.stores.s3.tenant import Admin, PolicyShare

MOST_ATTEMPTS: Final = 4
"""How often a change is written that somebody else overwrites."""


@dataclass(frozen=True)
class Change:
    """What is to become of a policy. Statements that are not ``ours`` are never touched."""

    wanted: tuple[Statement, ...]
    is_ours: Callable[[Statement], bool]
    """Which statements this change may remove: those for the same server, or for those that are gone."""
    is_known: Callable[[str], bool] | None = None
    """Whether a user with this name still exists, where that can be asked; used when S3 refuses a principal."""
    refusal: Failure | None = None
    """What to raise when S3 knows none of the principals that are wanted."""
    namespace: str = FOR_THE_CLASS
    """The namespace of the server for which it is."""
    share: PolicyShare | None = None
    """How much of the policy that namespace may have, where this change may be refused for it."""

    @property
    def sids(self) -> frozenset[str]:
        """What the names of the wanted statements of servers begin with."""
        return frozenset(policy.sid_of(one)[:-1] for one in self.wanted if policy.is_of_a_server(one))


_namespaces: dict[tuple[str, str], dict[str, str]] = {}
"""Whose the statements are that this process has written, by bucket and beginning of their names: a server counts from
the moment when it is in the policy, also if it is gone again and its statements could not be taken away."""


def read_policy(admin: Admin) -> Document:
    """The bucket's policy; one without statements if it has none. Raises Failure."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    with asking(admin, "give its policy", "s3:GetBucketPolicy"):
        try:
            text = s3_client(admin).get_bucket_policy(Bucket=admin.bucket.name)["Policy"]
        except ClientError as error:
            if says(error, frozenset({"NoSuchBucketPolicy"})):
                return policy.EMPTY
            raise
    try:
        return policy.parsed(text)
    except ValueError as error:
        raise Unavailable(
            Reason.STORE_UNREACHABLE,
            f"{admin.bucket.title} gave a policy that is no JSON. The operator goes on trying.",
        ) from error


def require_room_for(admin: Admin, document: Document, change: Change) -> None:
    """Make sure that the policy has room for a change, before anything else is written for it. Raises Invalid."""
    after = planned(document, change)
    policy.require_room(after, document, str(admin.bucket))
    if change.share and not any(change.is_ours(one) for one in policy.statements_of(document)):
        written = _namespaces.get(admin.bucket.address, {}).items()
        sids = change.share.sids | change.sids | {sid for sid, whose in written if whose == change.namespace}
        policy.require_share(after, replace(change.share, sids=sids), change.namespace, str(admin.bucket))


def change_policy(admin: Admin, change: Change, seen: Document | None = None) -> tuple[str, ...]:
    """Bring the bucket's policy to where ``change`` wants it; one request if it is there already.

    ``seen`` is the policy if it was read a moment ago. Returns remarks for the platform team.

    Raises:
        Invalid: the policy is full, or holds somebody else's statement that S3 refuses.
        Failure: the object store does not answer or refuses, or others overwrite the policy again and again.

    """
    before = read_policy(admin) if seen is None else seen
    if is_settled(before, change):
        return _remarks(before)
    with alone_on(admin.bucket, change.namespace):
        remarks: tuple[str, ...] = ()
        for _ in range(MOST_ATTEMPTS):
            before = read_policy(admin)
            if is_settled(before, change):
                return (*_remarks(before), *remarks)
            require_room_for(admin, before, change)
            after = planned(before, change)
            remarks = _write(admin, before, after, change)
            _note_whose(admin, after, change)
        if is_settled(read_policy(admin), change):
            return remarks
    raise Unavailable(
        Reason.ISOLATION_NOT_PROVED,
        f"{admin.bucket.title} accepted its policy {MOST_ATTEMPTS} times, and does not have what was written: somebody "
        "else writes it at the same time, or the object store drops what it does not know. The operator goes on trying.",
    )


def _note_whose(admin: Admin, after: Document, change: Change) -> None:
    """Remember whose the new statements are, and forget those that are not there any more."""
    known = _namespaces.get(admin.bucket.address, {}) | dict.fromkeys(change.sids, change.namespace)
    present = {policy.sid_of(one)[:-1] for one in policy.statements_of(after)}
    _namespaces[admin.bucket.address] = {sid: whose for sid, whose in known.items() if sid in present}


def planned(document: Document, change: Change) -> Document:
    """The policy after a change: pure.

    Statements of ours whose principal is gone go as well, whosever they are; and with the last server what is
    denied to everybody for its sake.
    """
    found = policy.statements_of(document)
    removed = [one for one in found if change.is_ours(one) or _is_dead(one)]
    after = policy.merged(document, removed, change.wanted)
    left = policy.statements_of(after)
    if any(policy.lets_servers_in(one) for one in left):
        return after
    return policy.merged(after, [one for one in left if policy.sid_of(one) in policy.DENIES], ())


def is_settled(document: Document, change: Change) -> bool:
    """Whether a change has nothing to do: what is wanted is there, and nothing else of the same server."""
    ours = [one for one in policy.statements_of(document) if change.is_ours(one)]
    wanted_names = {policy.sid_of(one) for one in change.wanted}
    if {policy.sid_of(one) for one in ours} - wanted_names:
        return False
    found = {policy.sid_of(one): one for one in policy.statements_of(document)}
    return len(ours) == len({policy.sid_of(one) for one in ours}) and all(
        policy.sid_of(one) in found and policy.meaning_of(found[policy.sid_of(one)]) == policy.meaning_of(one)
        for one in change.wanted
    )


def _is_dead(statement: Statement) -> bool:
    return policy.is_of_a_server(statement) and bool(policy.dead_names_in(statement))


def _remarks(document: Document) -> tuple[str, ...]:
    """What S3 itself says is gone from statements that are not ours to remove."""
    return tuple(
        f"The statement {policy.sid_of(one) or '(without Sid)'} of the bucket's policy names {', '.join(dead)}, which is "
        "gone: S3 refuses every change of the policy until it is removed."
        for one in policy.statements_of(document)
        if not policy.is_of_a_server(one) and (dead := policy.dead_names_in(one))
    )


def _write(admin: Admin, before: Document, after: Document, change: Change) -> tuple[str, ...]:
    """Write a policy; where S3 refuses one of its principals, without the servers of those that it refuses."""
    refused = _put(admin, after)
    if refused is None:
        return ()
    kept = planned(before, Change((), lambda _: False))
    if _put(admin, kept) is None:
        raise change.refusal or _unknown_principal(admin, refused)
    if sids := _first_accepted(admin, after, change):
        return tuple(f"The statement {sid} named somebody who is gone, and was removed." for sid in sids)
    if _first_accepted(admin, kept, change) and change.refusal:
        raise change.refusal
    raise _unknown_principal(admin, refused)


def _first_accepted(admin: Admin, document: Document, change: Change) -> tuple[str, ...]:
    """Write the first document that is accepted; the names of the statements that it leaves out, none if none is."""
    for smaller, sids in _without_the_dead(document, change):
        if _put(admin, smaller) is None:
            return sids
    return ()


def _put(admin: Admin, document: Document) -> str | None:
    """Write a document; what S3 says if it refuses a principal."""
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client, name = s3_client(admin), admin.bucket.name
    with asking(admin, "take its policy", "s3:PutBucketPolicy and s3:DeleteBucketPolicy"):
        if not policy.statements_of(document):
            client.delete_bucket_policy(Bucket=name)
            return None
        try:
            client.put_bucket_policy(Bucket=name, Policy=policy.compact(document))
        except ClientError as error:
            if code_of(error) == "MalformedPolicy" and "principal" in answer_of(error).lower():
                return answer_of(error)
            if code_of(error) == "MalformedPolicy":
                raise _malformed(admin, answer_of(error)) from error
            raise
    return None


def _without_the_dead(document: Document, change: Change) -> Iterator[tuple[Document, tuple[str, ...]]]:
    """Smaller documents to try, with the names of the statements that each leaves out: those of other servers.

    First all whose principal is known to be gone, then single servers. A document that leaves out somebody who is
    alive still names the one who is gone and is refused, so nobody loses anything by a trial.
    """
    wanted = {policy.sid_of(one) for one in change.wanted}
    others = [
        one
        for one in policy.statements_of(document)
        if policy.is_of_a_server(one) and policy.sid_of(one) not in wanted
    ]
    if change.is_known is not None:
        known = change.is_known
        if gone := [one for one in others if not all(known(name) for name in policy.names_in(one))]:
            yield _left_out(document, gone)
    for server in dict.fromkeys(policy.sid_of(one)[:-1] for one in others):
        yield _left_out(document, [one for one in others if policy.sid_of(one)[:-1] == server])


def _left_out(document: Document, gone: list[Statement]) -> tuple[Document, tuple[str, ...]]:
    return policy.merged(document, gone, ()), tuple(policy.sid_of(one) for one in gone)


def _unknown_principal(admin: Admin, said: str) -> Invalid:
    return Invalid(
        Reason.CONFLICT,
        f"{admin.bucket.title} refuses its policy: {said}. A statement that the operator did not write names somebody "
        "who is gone; remove it from the bucket's policy, and the operator looks again.",
    )


def _malformed(admin: Admin, said: str) -> Invalid:
    return Invalid(
        Reason.INVALID_SPEC,
        f"{admin.bucket.title} does not understand the policy that this class needs: {said}. Use another isolation, "
        "leave requireEncryption out, or use another object store.",
    )
