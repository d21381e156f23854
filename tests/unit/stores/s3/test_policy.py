"""Policy documents: what they grant, how they are merged, and when two of them say the same."""

import json
from typing import cast

import pytest

from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.bucket_policy import Change, is_settled, planned
from tracking_operator.stores.s3.policy import PolicyPrincipals, Statement
from tracking_operator.stores.s3.tenant import Tenant

OWN = Tenant.named("ml-artifacts", "team-a/mlflow", Mark("c", "team-a", "mlflow"))
OTHER = Tenant.named("ml-artifacts", "team-b/mlflow", Mark("c", "team-b", "mlflow"))
ROLE = PolicyPrincipals(("arn:aws:iam::123456789012:role/mlflow-team-a",))
FOREIGN: Statement = {"Effect": "Allow", "Principal": {"AWS": "x"}, "Action": "s3:GetObject", "Resource": "y"}


def document(*statements: Statement) -> policy.Document:
    return {"Version": policy.VERSION, "Statement": list(statements)}


def change(of: Tenant, *wanted: Statement) -> Change:
    return Change(wanted, lambda statement: policy.is_of(statement, of))


# What is granted


def test_a_servers_pair_of_statements() -> None:
    listing, objects = policy.server_statements(OWN, ROLE)
    assert listing == {
        "Sid": f"{OWN.sid}L",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/mlflow-team-a"},
        "Action": "s3:ListBucket",
        "Resource": "arn:aws:s3:::ml-artifacts",
        "Condition": {"StringLike": {"s3:prefix": "team-a/mlflow/*"}},
    }
    assert objects == {
        "Sid": f"{OWN.sid}O",
        "Effect": "Allow",
        "Principal": {"AWS": "arn:aws:iam::123456789012:role/mlflow-team-a"},
        "Action": [
            "s3:GetObject",
            "s3:PutObject",
            "s3:DeleteObject",
            "s3:AbortMultipartUpload",
            "s3:ListMultipartUploadParts",
        ],
        "Resource": "arn:aws:s3:::ml-artifacts/team-a/mlflow/*",
    }


def test_a_pair_is_short_enough_for_24_to_45_servers_per_bucket() -> None:
    pair = policy.compact(document(*policy.server_statements(OWN, ROLE)))
    assert 24 <= policy.LARGEST_DOCUMENT // len(pair) <= 45


def test_while_a_prefix_is_emptied_its_versions_can_be_deleted() -> None:
    listing, objects = policy.server_statements(OWN, ROLE, deletes=True)
    assert listing["Action"] == ["s3:ListBucket", "s3:ListBucketVersions"]
    assert cast("list[str]", objects["Action"])[-1] == "s3:DeleteObjectVersion"


def test_required_encryption_is_denied_otherwise_within_the_prefix_only() -> None:
    *_, deny = policy.server_statements(OWN, ROLE, require_encryption="aws:kms")
    assert deny["Effect"] == "Deny"
    assert deny["Resource"] == "arn:aws:s3:::ml-artifacts/team-a/mlflow/*"
    assert deny["Condition"] == {"StringNotEquals": {"s3:x-amz-server-side-encryption": "aws:kms"}}


def test_plain_http_is_denied_where_there_is_tls_and_nothing_where_there_is_none() -> None:
    (deny,) = policy.bucket_denies("ml-artifacts", uses_tls=True)
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert policy.bucket_denies("ml-artifacts", uses_tls=False) == ()


@pytest.mark.parametrize(
    ("region", "partition"),
    [("eu-central-1", "aws"), ("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov")],
)
def test_partitions(region: str, partition: str) -> None:
    assert policy.partition_of(region) == partition


def test_the_statements_for_tags() -> None:
    principals = PolicyPrincipals(("*",), path="arn:aws:iam::123456789012:user/mlflow/*")
    listing, objects = policy.abac_statements("ml-artifacts", "c", principals, eks_cluster_name="prod")
    home = "${aws:PrincipalTag/kubernetes-namespace}/${aws:PrincipalTag/kubernetes-service-account}"
    limits = {
        "ArnLike": {"aws:PrincipalArn": "arn:aws:iam::123456789012:user/mlflow/*"},
        "StringEquals": {"aws:PrincipalAccount": "123456789012", "aws:PrincipalTag/eks-cluster-name": "prod"},
    }
    assert listing["Condition"] == {**limits, "StringLike": {"s3:prefix": f"{home}/*"}}
    assert objects["Resource"] == f"arn:aws:s3:::ml-artifacts/{home}/*"
    assert objects["Condition"] == limits
    assert listing["Principal"] == objects["Principal"] == {"AWS": "*"}
    assert len(policy.compact(document(listing, objects))) < 1500


def test_the_statements_for_tags_without_anybody_are_for_a_role() -> None:
    for statement in policy.abac_statements("ml-artifacts", "c", None, require_encryption="AES256"):
        assert "Principal" not in statement
        assert str(statement["Sid"]).isalnum()


# Meaning


SAME = [
    ({"Action": "a"}, {"Action": ["a"]}),
    ({"Action": ["a", "b"]}, {"Action": ["b", "a", "a"]}),
    ({"Principal": "*"}, {"Principal": {"AWS": ["*"]}}),
    ({"Principal": {"AWS": "x"}}, {"Principal": {"AWS": ["x"]}}),
    ({"Condition": {"Bool": {"aws:X": False}}}, {"Condition": {"Bool": {"AWS:x": ["false"]}}}),
    ({"Sid": "a", "Effect": "Deny"}, {"Effect": "Deny", "Sid": "a"}),
]
OTHERWISE = [
    ({"Action": "a"}, {"Action": "A"}),
    ({"Action": "a"}, {"NotAction": "a"}),
    ({"Principal": {"AWS": "x"}}, {"Principal": {"Service": "x"}}),
    ({"Resource": "a/*"}, {"Resource": "a*"}),
    ({"Condition": {"StringLike": {"k": "a"}}}, {"Condition": {"StringEquals": {"k": "a"}}}),
    ({"Sid": "a"}, {"Sid": "b"}),
]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_s3_rewrites_means_the_same(one: Statement, other: Statement) -> None:
    assert policy.same_meaning(document(one), document(other))
    assert policy.same_meaning({"Statement": one}, document(other))


@pytest.mark.parametrize(("one", "other"), OTHERWISE)
def test_what_means_something_else_is_not_the_same(one: Statement, other: Statement) -> None:
    assert not policy.same_meaning(document(one), document(other))


# Changes


def test_a_change_puts_in_and_takes_out_only_a_servers_own() -> None:
    others = policy.server_statements(OTHER, ROLE)
    before = document(FOREIGN, *others)
    mine = policy.server_statements(OWN, ROLE)
    after = planned(before, change(OWN, *mine))
    assert policy.statements_of(after) == [FOREIGN, *others, *mine]
    assert is_settled(after, change(OWN, *mine))
    assert planned(after, change(OWN)) == before


def test_a_statement_is_replaced_where_it_stands_and_kept_as_s3_wrote_it_where_it_says_the_same() -> None:
    listing, objects = policy.server_statements(OWN, ROLE)
    rewritten = {**listing, "Action": ["s3:ListBucket"]}
    wider = {**objects, "Resource": "arn:aws:s3:::ml-artifacts/*"}
    after = planned(document(wider, FOREIGN, rewritten), change(OWN, listing, objects))
    assert policy.statements_of(after) == [objects, FOREIGN, rewritten]


def test_two_statements_of_one_name_become_one() -> None:
    listing, objects = policy.server_statements(OWN, ROLE)
    doubled = document(listing, objects, {**objects, "Resource": "arn:aws:s3:::ml-artifacts/*"})
    assert not is_settled(doubled, change(OWN, listing, objects))
    assert policy.statements_of(planned(doubled, change(OWN, listing, objects))) == [listing, objects]


@pytest.mark.parametrize("gone", ["AIDACKCEVSQ6C2EXAMPLE", "AROACKCEVSQ6C2EXAMPLE"])
def test_own_statements_for_somebody_who_is_gone_are_dropped_and_others_are_not(gone: str) -> None:
    dead = policy.server_statements(OTHER, PolicyPrincipals((gone,)))
    foreign = {**FOREIGN, "Principal": {"AWS": [gone]}}
    mine = policy.server_statements(OWN, ROLE)
    after = planned(document(foreign, *dead), change(OWN, *mine))
    assert policy.statements_of(after) == [foreign, *mine]


def test_what_is_denied_for_all_goes_with_the_last_server() -> None:
    denies = policy.bucket_denies("ml-artifacts", uses_tls=True)
    pairs = [policy.server_statements(one, ROLE) for one in (OWN, OTHER)]
    both = document(*pairs[0], *denies, *pairs[1])
    one = planned(both, change(OWN))
    assert policy.statements_of(one) == [*denies, *pairs[1]]
    assert policy.statements_of(planned(one, change(OTHER))) == []


def test_a_document_of_one_statement_without_a_list() -> None:
    single = cast("policy.Document", {"Version": "2008-10-17", "Id": "x", "Statement": dict(FOREIGN)})
    after = planned(single, change(OWN, *policy.server_statements(OWN, ROLE)))
    assert (after["Version"], after["Id"]) == ("2008-10-17", "x")
    assert policy.statements_of(after)[0] == FOREIGN


def test_compact_documents_have_no_white_space() -> None:
    text = policy.compact(document(FOREIGN))
    assert " " not in text
    assert json.loads(text) == document(FOREIGN)
