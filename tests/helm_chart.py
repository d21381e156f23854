"""What Helm makes of the chart, for tests: objects, or the sentence with which it refuses values."""

import subprocess
from collections.abc import Iterable, Mapping

import pytest
import yaml

from dev.chart.__main__ import CHART
from dev.chart.markup import Object
from dev.chart.templates import Key, by_key
from dev.deploy import NAMESPACE
from dev.local_cluster.binaries import published_program
from dev.local_cluster.versions import pinned
from tests.waiting import patient

HELMS = ("helm", pytest.param("helm-3", marks=pytest.mark.campaign))
"""As dev/versions.toml has them: Helm 4, and 3, which takes minutes to build and has found nothing else."""
SECONDS = 60.0
CLASSES = "tracking-operator.dev/v1alpha1/TrackingServerClass"
"""What Helm finds in a cluster that has the definitions."""


def helm(
    *arguments: str,
    values: object = None,
    program: str = "helm",
    environment: Mapping[str, str] | None = None,
) -> str:
    """What Helm prints. Raises subprocess.CalledProcessError, with its `stderr`, when it refuses."""
    command = [str(published_program(program)), *arguments]
    given = None if values is None else yaml.safe_dump(values)
    if given:
        command += ["--values", "-"]
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        check=True,
        timeout=patient(SECONDS),
        env=environment,
    )
    return done.stdout


def rendered(values: object = None, *options: str, program: str = "helm") -> dict[Key, Object]:
    """The objects of a release of the chart in the usual namespace."""
    cluster = ("--namespace", NAMESPACE, "--kube-version", pinned("kubernetes"))
    template = ("template", "tracking-operator", str(CHART), *cluster)
    return objects_in(helm(*template, *options, values=values, program=program))


def objects_in(text: str) -> dict[Key, Object]:
    """The objects of a YAML stream, by the fast loader: definitions are long."""
    return by_key(one for one in yaml.load_all(text, Loader=yaml.CSafeLoader) if one)


def refused(values: object, program: str = "helm") -> str:
    """The sentence with which Helm refuses values."""
    with pytest.raises(subprocess.CalledProcessError) as failure:
        rendered(values, program=program)
    return str(failure.value.stderr)


def without(objects: Iterable[Object], kind: str) -> dict[Key, Object]:
    """Objects by their key, but for those of one kind."""
    return by_key(one for one in objects if one["kind"] != kind)
