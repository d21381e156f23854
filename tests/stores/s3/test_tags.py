"""Isolation by tags, judged by an evaluator of AWS policies that is not ours: who is let in, and who is not."""

import json
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from dev.local_cluster.cache import built_once, digest_of
from tracking_operator.stores.ownership_mark import Mark
from tracking_operator.stores.s3 import policy
from tracking_operator.stores.s3.policy import PolicyPrincipals
from tracking_operator.stores.s3.tenant import Tenant

SOURCES = Path(__file__).parent / "iam_simulator"
ACCOUNT = "123456789012"
BUCKET = "ml-artifacts"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/mlflow"
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/mlflow/eks-prod-mlflow"
USERS = f"arn:aws:iam::{ACCOUNT}:user/tracking-operator/"
BY_ROLE = policy.abac_statements(BUCKET, "c", PolicyPrincipals((ROLE,)), eks_cluster_name="prod")
BY_USERS = policy.abac_statements(BUCKET, "c", PolicyPrincipals(("*",), path=f"{USERS}*"))


@dataclass(frozen=True)
class Request:
    """What somebody asks of the bucket."""

    principal: str
    action: str
    key: str
    tags: dict[str, str] = field(default_factory=dict)
    account: str = ACCOUNT

    def simulation(self, statements: tuple[policy.Statement, ...]) -> dict[str, object]:
        is_listing = self.action.startswith("s3:ListBucket")
        context = {f"aws:PrincipalTag/{key}": value for key, value in self.tags.items()}
        context |= {"aws:PrincipalArn": self.principal_arn, "aws:PrincipalAccount": self.account}
        resource = f"arn:aws:s3:::{BUCKET}" if is_listing else f"arn:aws:s3:::{BUCKET}/{self.key}"
        if is_listing:
            context["s3:prefix"] = self.key
        return {
            "request": {
                "principal": self.principal,
                "action": self.action,
                "resource": {"resource": resource, "accountId": ACCOUNT},
                "contextVariables": context,
            },
            "identityPolicies": [],
            "serviceControlPolicies": [],
            "resourceControlPolicies": [],
            "resourcePolicy": {"Version": policy.VERSION, "Statement": list(statements)},
        }

    @property
    def principal_arn(self) -> str:
        return ROLE if self.principal == SESSION else self.principal


@pytest.fixture(scope="module")
def simulator() -> Path:
    """The evaluator from npm, by the hashes of its lock file."""

    def install(folder: Path) -> None:
        shutil.copytree(SOURCES, folder, dirs_exist_ok=True)
        npm = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(npm, cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr

    return built_once("iam-simulator", digest_of((), SOURCES), install)


def judged(
    simulator: Path, statements: tuple[policy.Statement, ...], requests: dict[str, Request]
) -> dict[str, bool]:
    asked = json.dumps([request.simulation(statements) for request in requests.values()])
    done = subprocess.run(
        ["node", "simulate.mjs"], cwd=simulator, input=asked, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert all(isinstance(answer, str) for answer in answers), answers
    return {name: answer == "Allowed" for name, answer in zip(requests, answers, strict=True)}


def tags(namespace: str, name: str = "mlflow", cluster: str = "prod") -> dict[str, str]:
    return {
        policy.TAG_OF_NAMESPACE: namespace,
        policy.TAG_OF_SERVICE_ACCOUNT: name,
        policy.TAG_OF_EKS_CLUSTER: cluster,
    }


def requests_of(principal: str) -> dict[str, tuple[Request, bool]]:
    mine = tags("team-a")
    found = {
        f"{action} {key}": (Request(principal, action, key, mine), key.startswith("team-a/mlflow/"))
        for action in ("s3:GetObject", "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListBucket")
        for key in ("team-a/mlflow/m", "team-a/mlflow/1/m", "team-a/mlflow-secret/m", "team-b/mlflow/m", "team-a/m", "m")
    }  # fmt: skip
    deletion = Request(principal, "s3:DeleteObjectVersion", "team-a/mlflow/m", mine)
    untagged = Request(principal, "s3:GetObject", "team-a/mlflow/m")
    half = Request(principal, "s3:GetObject", "team-a/mlflow/m", {policy.TAG_OF_NAMESPACE: "team-a"})
    return {**found, "a version": (deletion, False), "no tags": (untagged, False), "half": (half, False)}


def test_tags_of_a_pods_session_let_it_into_its_own_prefix_only(simulator: Path) -> None:
    cases = requests_of(SESSION)
    elsewhere = Request(SESSION, "s3:GetObject", "team-a/mlflow/m", tags("team-a", cluster="staging"))
    cases["another cluster"] = (elsewhere, False)
    expected = {name: is_allowed for name, (_, is_allowed) in cases.items()}
    assert judged(simulator, BY_ROLE, {name: request for name, (request, _) in cases.items()}) == expected


def test_tags_of_users_count_under_the_path_and_in_the_account_only(simulator: Path) -> None:
    cases = requests_of(f"{USERS}mlflow-team-a")
    mine = tags("team-a")
    other_path = Request(f"arn:aws:iam::{ACCOUNT}:user/people/eve", "s3:GetObject", "team-a/mlflow/m", mine)
    stranger = "arn:aws:iam::210987654321:user/tracking-operator/eve"
    other_account = Request(stranger, "s3:GetObject", "team-a/mlflow/m", mine, "210987654321")
    cases |= {"another path": (other_path, False), "another account": (other_account, False)}
    expected = {name: is_allowed for name, (_, is_allowed) in cases.items()}
    assert judged(simulator, BY_USERS, {name: request for name, (request, _) in cases.items()}) == expected


def test_while_a_prefix_is_emptied_only_its_own_versions_can_be_deleted(simulator: Path) -> None:
    tenant = Tenant.named(BUCKET, "team-a/mlflow", Mark("c", "team-a", "mlflow"))
    more = policy.abac_deletion_statements(tenant, PolicyPrincipals((ROLE,)), eks_cluster_name="prod")
    own = Request(SESSION, "s3:DeleteObjectVersion", "team-a/mlflow/m", tags("team-a"))
    neighbour = Request(SESSION, "s3:DeleteObjectVersion", "team-a/mlflow/m", tags("team-b"))
    beyond = Request(SESSION, "s3:DeleteObjectVersion", "team-a/mlflow-secret/m", tags("team-a"))
    asked = {"own": own, "neighbour": neighbour, "beyond": beyond}
    assert judged(simulator, (*BY_ROLE, *more), asked) == {"own": True, "neighbour": False, "beyond": False}
