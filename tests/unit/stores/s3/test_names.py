"""Prefixes that cannot be used, and the names of statements and users."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tracking_operator.api.conditions import Reason
from tracking_operator.failures import Invalid
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3.tenant import (
    LONGEST_USER_NAME,
    Tenant,
    cluster_part,
    server_part,
    user_part,
)

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", fullmatch=True)


def tenant(namespace: str = "team-a", name: str = "mlflow", cluster: str = "c") -> Tenant:
    return Tenant.named("ml-artifacts", "team-a/mlflow", Mark(cluster, namespace, name, "u"))


@pytest.mark.parametrize(
    "prefix",
    [
        "", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "*", "a/*", "a?", "a b", "a\nb", "a\x00", "${aws:username}",
        "a'b", 'a"b', "a\\b", "a%2Fb", "a#b", ".tracking-operator", ".tracking-operator/prefixes/x", ".tracking-operator-x",
        "a/owner.json/b", "x" * 513, "ü" * 257,
    ],
)  # fmt: skip
def test_prefixes_that_cannot_be_used(prefix: str) -> None:
    with pytest.raises(Invalid, match=r"naming\.artifactPrefix") as caught:
        Tenant.named("ml-artifacts", prefix, Mark("c", "n", "m"))
    assert caught.value.reason is Reason.INVALID_SPEC


@pytest.mark.parametrize("prefix", ["a", "team-a/mlflow", "a.b/c_d", "teams/größe/1", "x" * 512])
def test_prefixes_that_can_be_used(prefix: str) -> None:
    assert Tenant.named("ml-artifacts", prefix, Mark("c", "n", "m")).folder == f"{prefix}/"


@given(namespace=NAMES, name=NAMES, cluster=st.text(min_size=1, max_size=40))
def test_names_fit_what_s3_and_iam_allow(namespace: str, name: str, cluster: str) -> None:
    one = tenant(namespace, name, cluster)
    assert re.fullmatch("trk[0-9a-f]{24}", one.sid)
    for user in (one.user_name, *one.user_names):
        assert re.fullmatch(r"mlflow-[a-z0-9-]+-[0-9a-f]{20}(-[ab])?", user)
        assert len(user) <= LONGEST_USER_NAME
        assert user_part(cluster, server_part(one.mark)) in user


def test_what_differs_in_any_part_differs_in_its_names() -> None:
    tenants = [
        tenant(),
        tenant(namespace="team"),
        tenant(namespace="team-a-mlflow", name="x"),
        tenant(namespace="team-a", name="mlflow-x"),
        tenant(cluster="d"),
    ]
    assert len({one.sid for one in tenants}) == len(tenants)
    assert len({one.user_name for one in tenants}) == len(tenants)


def test_the_uid_does_not_count() -> None:
    again = Tenant.named("ml-artifacts", "team-a/mlflow", Mark("c", "team-a", "mlflow", "another"))
    assert (again.sid, again.user_name) == (tenant().sid, tenant().user_name)


def test_a_cluster_is_found_in_its_names() -> None:
    assert tenant().sid.startswith(f"trk{cluster_part('c')}")
    assert not tenant(cluster="d").sid.startswith(f"trk{cluster_part('c')}")
