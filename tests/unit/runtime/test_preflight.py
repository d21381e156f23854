"""What is missing before the start is said in one sentence."""

from collections.abc import Callable
from typing import cast

import pytest

from tracking_operator.kube.client import KubeClient
from tracking_operator.kube.errors import ApiError
from tracking_operator.kube.objects import DEPLOYMENT, NAMESPACE, Kind, KubeObject
from tracking_operator.runtime import preflight
from tracking_operator.runtime.watched_kinds import WATCHED, Watched


class Rules:
    """An API server that knows what is installed and granted."""

    def __init__(
        self,
        *,
        installed: bool = True,
        granted: Callable[[str, Kind, str | None], bool] = lambda verb, kind, namespace: True,
    ) -> None:
        self._installed = installed
        self._granted = granted

    async def list(self, kind: Kind, namespace: str | None = None, *, limit: int) -> list[KubeObject]:
        if not self._installed:
            raise ApiError(404, "NotFound", "the server could not find the requested resource")
        return []

    async def can_i(self, verb: str, kind: Kind, namespace: str | None = None) -> bool:
        return self._granted(verb, kind, namespace)


async def check(rules: Rules, namespaces: tuple[str, ...] = ()) -> None:
    await preflight.check(cast(KubeClient, rules), WATCHED, namespaces=namespaces, own_namespace="operators")


async def test_everything_granted_passes() -> None:
    await check(Rules())


async def test_missing_definitions_are_named_with_the_remedy() -> None:
    with pytest.raises(
        preflight.PreflightError, match=r"does not know trackingservers\.tracking-operator\.dev"
    ):
        await check(Rules(installed=False))


async def test_missing_permission_is_named_with_the_remedy() -> None:
    rules = Rules(granted=lambda verb, kind, namespace: (verb, kind) != ("watch", DEPLOYMENT))
    with pytest.raises(preflight.PreflightError) as caught:
        await check(rules)
    assert "may not watch deployments.apps in the whole cluster" in str(caught.value)
    assert "RBAC of manifests/base" in str(caught.value)


async def test_operator_of_some_namespaces_needs_permissions_there_only() -> None:
    def granted(verb: str, kind: Kind, namespace: str | None) -> bool:
        return namespace in ("team-a", "operators") or not kind.namespaced

    await check(Rules(granted=granted), ("team-a",))
    with pytest.raises(preflight.PreflightError, match="in namespace team-b"):
        await check(Rules(granted=granted), ("team-a", "team-b"))


def test_kinds_outside_namespaces_are_listed_everywhere() -> None:
    assert Watched(NAMESPACE).namespaces(("team-a",)) == (None,)
    assert Watched(DEPLOYMENT).namespaces(("team-a",)) == ("team-a",)
    assert Watched(DEPLOYMENT).namespaces(()) == (None,)
