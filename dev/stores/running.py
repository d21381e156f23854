"""A store that runs in the cluster, as whoever develops meets it: stop it, start it, and learn why it does not answer."""

import subprocess
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from dev.development_cluster import DevelopmentCluster
from dev.local_cluster.failures import ClusterError
from dev.local_cluster.waiting import wait_until
from dev.stores.manifests import service_host

SECONDS_TO_START = 180
SECONDS_TO_STOP = 90
CONNECT_TIMEOUT = 5
LAST_LINES = 20


@dataclass(frozen=True)
class RunningStore(ABC):
    """A running server with a Deployment, a Service and a port of one name.

    Attributes:
        namespace: its own.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """How a sentence calls it."""
    service_port: ClassVar[int]
    labels: ClassVar[Mapping[str, str]]
    errors: ClassVar[tuple[type[Exception], ...]]
    """What its client raises while it does not answer."""
    hint: ClassVar[str] = ""
    """What may be the matter when it never answers."""

    cluster: DevelopmentCluster = field(repr=False)
    namespace: str

    @property
    def host(self) -> str:
        """The name under which pods reach it."""
        return service_host(self.name, self.namespace)

    def stop(self) -> None:
        """Shut it down, ending every connection, and wait until its pod is gone; its volume stays."""
        self._scale(0)
        wait_until(
            lambda: not self._pods(),
            seconds=SECONDS_TO_STOP,
            otherwise=lambda: f"{self.title} in namespace {self.namespace} did not end: {self._pods()}",
            interval=0.2,
        )

    def start(self) -> None:
        """Start it after `stop`, and wait until it answers."""
        self._scale(1)
        self.wait_until_it_answers()

    def wait_until_it_answers(self) -> None:
        """Wait until it can be used here, and until pods reach it by its name.

        Raises:
            ClusterError: not within three minutes; the message has the last lines of its log.
        """
        try:
            self.kubectl("rollout", "status", f"deployment/{self.name}", f"--timeout={SECONDS_TO_START}s")
        except subprocess.CalledProcessError as error:
            raise ClusterError(self._why_not(error.stderr)) from error
        self._wait_until_it_works(self.use)
        # The node learns of a Service's new address a moment after the pod is ready.
        self._wait_until_it_works(self._connect_by_name)

    @abstractmethod
    def use(self) -> object:
        """Do something that only works while it answers; one of `errors` is raised while it does not."""

    def kubectl(self, *arguments: str) -> str:
        """What kubectl says about its namespace."""
        return self.cluster.kubectl("--namespace", self.namespace, *arguments)

    def _wait_until_it_works(self, use: Callable[[], object]) -> None:
        problem = ""

        def works() -> bool:
            nonlocal problem
            try:
                use()
            except subprocess.CalledProcessError as error:
                problem = error.stderr
            except ClusterError as error:
                problem = str(error)
            except self.errors as error:
                problem = str(error)
            else:
                return True
            return False

        wait_until(works, seconds=SECONDS_TO_START, otherwise=lambda: self._why_not(problem), interval=0.2)

    def _connect_by_name(self) -> None:
        """Open a connection to the Service from the server's own pod."""
        connect = f"exec 3<>/dev/tcp/{self.host}/{self.service_port}"
        self.kubectl("exec", f"deployment/{self.name}", "--", "timeout", "5", "bash", "-c", connect)

    def _scale(self, replicas: int) -> None:
        self.kubectl("scale", f"deployment/{self.name}", f"--replicas={replicas}")

    def _pods(self) -> str:
        selector = ",".join(f"{key}={value}" for key, value in self.labels.items())
        return self.kubectl("get", "pods", f"--selector={selector}", "--output=name")

    def _why_not(self, problem: str) -> str:
        events = self.kubectl("events").splitlines()[-LAST_LINES:]
        try:
            log = self.kubectl("logs", f"deployment/{self.name}", f"--tail={LAST_LINES}")
        except subprocess.CalledProcessError as error:
            log = error.stderr
        said = f"{self.title} in namespace {self.namespace} does not answer: {problem.strip()}"
        return "\n".join([line for line in (said, self.hint) if line] + [*events, log.strip()])
