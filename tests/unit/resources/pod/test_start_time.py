"""How long a start may take: as long as the CPU limit makes it."""

import pytest

from tests.unit.examples import Manifest, model
from tracking_operator.resources.deployment import build_deployment
from tracking_operator.resources.pod.start_time import LONGEST_SECONDS, USUAL_SECONDS, seconds_to_start


@pytest.mark.parametrize(
    ("limits", "workers", "seconds"),
    [
        ({}, 1, USUAL_SECONDS),
        ({"cpu": "4"}, 1, USUAL_SECONDS),
        ({"cpu": "250m"}, 1, USUAL_SECONDS),
        ({"cpu": "100m"}, 1, 450),
        ({"cpu": "50m"}, 1, 900),
        ({"cpu": "0.05"}, 2, 1200),
        ({"cpu": "1m"}, 1, LONGEST_SECONDS),
        ({"cpu": "0"}, 1, USUAL_SECONDS),
    ],
)
def test_a_small_cpu_limit_gives_a_start_more_time(limits: Manifest, workers: int, seconds: int) -> None:
    server = model({"workers": workers, "resources": {"limits": {"memory": "1Gi", **limits}}})
    assert seconds_to_start(server) == seconds
    spec = build_deployment(server)["spec"]
    probe = spec["template"]["spec"]["containers"][0]["startupProbe"]
    assert probe["failureThreshold"] * probe["periodSeconds"] == seconds
    assert spec["progressDeadlineSeconds"] >= 600 + seconds - USUAL_SECONDS
