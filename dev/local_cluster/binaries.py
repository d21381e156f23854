"""The programs of the cluster, built from pinned Go modules and cached per version and content."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dev.local_cluster import go
from dev.local_cluster.cache import built_once, digest_of, is_built
from dev.local_cluster.progress import say
from dev.local_cluster.versions import pinned

SOURCES = Path(__file__).parent / "go"
BUILDS_AT_ONCE = 2
KUBERNETES_PROGRAMS = (
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True)
class Recipe:
    """How one binary is made: from a module of ours in `go/`, or from a published module as it is."""

    name: str
    version: str
    linker_flags: str = ""
    programs: tuple[str, ...] = ()
    module: str = ""
    package: str = "."
    module_sum: str = ""
    tags: str = ""

    @property
    def key(self) -> str:
        """The version and a digest of everything else that goes into the build."""
        inputs: tuple[str, ...] = (
            self.linker_flags,
            " ".join(self.programs),
            self.module,
            self.package,
            self.module_sum,
        )
        inputs += (self.tags,) if self.tags else ()
        return f"{self.version}-{digest_of(inputs, None if self.module else SOURCES / self.name)}"


@dataclass(frozen=True)
class Binaries:
    """The built programs, each by its path."""

    kubernetes: Path
    etcd: Path
    coredns: Path
    pause: Path
    kube_router: Path

    def program(self, name: str) -> Path:
        """A Kubernetes program, for example `kubectl`."""
        return self.kubernetes.parent / name


def build_binaries() -> Binaries:
    """Build what is not yet in the cache; minutes on a fresh machine, nothing later.

    Two builds run at once: while one downloads or links, which takes one processor, the other uses the rest.
    """
    recipes = {
        "kubernetes": _kubernetes(),
        "etcd": Recipe("etcd", pinned("etcd")),
        "coredns": Recipe("coredns", pinned("coredns")),
        "pause": Recipe("pause", pinned("pause")),
        "kube_router": _published("kube-router"),
    }
    if missing := [recipe.name for recipe in recipes.values() if not is_built(recipe.name, recipe.key)]:
        say(f"compile {', '.join(missing)}, once: all five take about 10 minutes on two processors")
    with ThreadPoolExecutor(BUILDS_AT_ONCE) as together:
        built = dict(zip(recipes, together.map(_binary, recipes.values()), strict=True))
    return Binaries(**built)


def published_program(name: str) -> Path:
    """A program of a published module that dev/versions.toml pins, as a static binary; built when it is not in the cache."""
    return _binary(_published(name))


def own_program(name: str) -> Path:
    """A program of a module of ours in `go/`, whose version dev/versions.toml names; built when it is not in the cache."""
    return _binary(Recipe(name, pinned(name)))


def kubectl() -> Path:
    """The kubectl of the pinned Kubernetes version."""
    return _binary(_kubernetes()).parent / "kubectl"


def _kubernetes() -> Recipe:
    version = pinned("kubernetes")
    major, minor, _ = version.split(".")
    variables = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    flags = " ".join(f"-X k8s.io/component-base/version.{key}={value}" for key, value in variables.items())
    return Recipe("kubernetes", version, linker_flags=flags, programs=KUBERNETES_PROGRAMS)


def _published(name: str) -> Recipe:
    return Recipe(
        name,
        pinned(name),
        linker_flags=pinned(name, "linker_flags", default=""),
        module=pinned(name, "module"),
        package=pinned(name, "package"),
        module_sum=pinned(name, "sum"),
        tags=pinned(name, "tags", default=""),
    )


def _binary(recipe: Recipe) -> Path:
    return built_once(recipe.name, recipe.key, lambda folder: _build(recipe, folder)) / recipe.name


def _build(recipe: Recipe, folder: Path) -> None:
    source = SOURCES / recipe.name
    if recipe.module:
        source = folder / "source"
        go.download_module(recipe.module, recipe.version, recipe.module_sum, source)
    go.build(source, recipe.package, folder / recipe.name, recipe.linker_flags, recipe.tags)
    if recipe.module:
        shutil.rmtree(source)
    for program in recipe.programs:
        (folder / program).symlink_to(recipe.name)
