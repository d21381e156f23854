"""One file pins every version; what is generated from it, or repeats it for a tool, agrees."""

import re

import pytest

from dev.local_cluster.binaries import KUBERNETES_PROGRAMS, SOURCES, Recipe
from dev.local_cluster.versions import pinned


@pytest.mark.parametrize(
    ("component", "module"),
    [
        ("kubernetes", "k8s.io/kubernetes"),
        ("etcd", "go.etcd.io/etcd/server/v3"),
        ("coredns", "github.com/coredns/coredns"),
        ("flux-health", "github.com/fluxcd/pkg/runtime"),
    ],
)
def test_our_go_modules_require_the_pinned_versions(component: str, module: str) -> None:
    go_mod = (SOURCES / component / "go.mod").read_text()
    assert f"{module} v{pinned(component)}\n" in go_mod


def test_the_staging_modules_belong_to_the_pinned_kubernetes() -> None:
    go_mod = (SOURCES / "kubernetes" / "go.mod").read_text()
    replaced = re.findall(r"^\s+(\S+) => (\S+) (\S+)$", go_mod, re.MULTILINE)
    assert replaced
    assert {version for _, _, version in replaced} == {f"v0.{pinned('kubernetes').partition('.')[2]}"}


def test_the_binary_knows_the_programs_that_it_is_called_as() -> None:
    main = (SOURCES / "kubernetes" / "main.go").read_text()
    assert [program for program in KUBERNETES_PROGRAMS if f'"{program}"' not in main] == []


def test_another_version_or_flag_is_another_build() -> None:
    keys = {
        Recipe("etcd", "3.7.3").key,
        Recipe("etcd", "3.7.4").key,
        Recipe("etcd", "3.7.3", linker_flags="-X a=b").key,
        Recipe("etcd", "3.7.3", module="example.org/etcd", module_sum="h1:a").key,
        Recipe("etcd", "3.7.3", module="example.org/etcd", module_sum="h1:b").key,
        Recipe("etcd", "3.7.3", module="example.org/etcd", module_sum="h1:b", tags="a").key,
    }
    assert len(keys) == 6


def test_an_unknown_component_is_an_error() -> None:
    with pytest.raises(KeyError):
        pinned("nothing")
