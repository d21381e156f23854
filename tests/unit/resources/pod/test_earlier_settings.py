"""What the release before has made goes on as it is, and has what is stated now once it changes anyway."""

from copy import deepcopy

from tests.unit.examples import EXTERNAL_DATABASE, SHARED_VOLUME, Manifest, model
from tests.unit.resources.test_golden import in_earlier_form
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.pod.earlier_settings import with_earlier_settings
from tracking_operator.resources.pod.start_time import USUAL_SECONDS

STORES: Manifest = {"backendStore": EXTERNAL_DATABASE, "artifactStore": SHARED_VOLUME}
AFFINITY: Manifest = {
    "podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "rack"}]}
}


def kept(live: Manifest, spec: Manifest | None = None) -> Manifest:
    server = model(STORES | (spec or {}))
    return with_earlier_settings(build_deployment(server), live, server)


def test_one_of_the_release_before_is_left_as_it_is() -> None:
    live = in_earlier_form(build_deployment(model(STORES)))
    assert kept(live) == live
    assert "topologySpreadConstraints" not in live["spec"]["template"]["spec"]


def test_one_of_this_release_is_what_is_desired() -> None:
    desired = build_deployment(model(STORES))
    assert kept(desired) is not None
    assert kept(desired) == desired
    assert desired["spec"]["template"]["spec"]["affinity"] is None


def test_what_the_team_asks_for_is_never_taken_away() -> None:
    live = in_earlier_form(build_deployment(model(STORES)))
    own = {"maxSkew": 1, "topologyKey": "rack", "whenUnsatisfiable": "ScheduleAnyway"}
    spec: Manifest = {"podTemplate": {"affinity": AFFINITY, "topologySpreadConstraints": [own]}}
    assert kept(live, spec) == build_deployment(model(STORES | spec))


def test_of_an_affinity_that_the_team_has_removed_nothing_stays() -> None:
    live = build_deployment(model(STORES | {"podTemplate": {"affinity": AFFINITY}}))
    assert kept(live)["spec"]["template"]["spec"]["affinity"] is None


def test_pods_that_have_started_are_not_replaced_for_more_time_to_start() -> None:
    spec: Manifest = {"resources": {"limits": {"cpu": "100m"}}}
    desired = build_deployment(model(STORES | spec))
    live = deepcopy(desired)
    probe = live["spec"]["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] > USUAL_SECONDS
    probe["failureThreshold"] = USUAL_SECONDS
    assert kept(live, spec) == desired
    status: Manifest = {"status": {"availableReplicas": 1}}
    assert kept(live | status, spec) == live
