"""No thread of ours writes after the Lease is given back or lost, also when it hangs."""

import asyncio
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import cast

import pytest

from tests.unit.kube.fake_client import FakeClient
from tests.unit.kube.waiting import until
from tracking_operator.kube.lease import LeaderElection
from tracking_operator.runtime import operator as operator_module
from tracking_operator.runtime.lease_guard import LeaseGuard
from tracking_operator.runtime.metrics import Metrics
from tracking_operator.runtime.operator import _Operator
from tracking_operator.runtime.settings import OperatorSettings
from tracking_operator.stores.postgres.database_server import PostgresServer

STORE = PostgresServer("hanging")


class Ended(BaseException):
    """Stands for the end of the process."""


class Election:
    """A Lease that is ours; notes whether a thread was at work when it was given back."""

    def __init__(self, threads: "Threads") -> None:
        self.threads = threads
        self.released_during_work: bool | None = None

    async def release(self) -> None:
        """Give it back."""
        self.released_during_work = self.threads.at_work


class Threads:
    """Work in a thread, which ends when a test says so."""

    def __init__(self) -> None:
        self.at_work = False
        self.release = threading.Event()

    def work(self) -> None:
        """Be at work."""
        self.at_work = True
        self.release.wait(30)
        self.at_work = False


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.release.set()


def operator_with(threads: Threads, monkeypatch: pytest.MonkeyPatch) -> tuple[_Operator, Election]:
    def end(code: int) -> None:
        raise Ended

    monkeypatch.setattr("os._exit", end)
    client = FakeClient().as_client()
    client.configuration = None  # type: ignore[assignment] # nothing is watched
    operator = _Operator(OperatorSettings(namespace="system"), client, Metrics(), "cluster")
    election = Election(threads)
    operator._election = cast(LeaderElection, election)
    return operator, election


async def shut_down(operator: _Operator) -> None:
    renewing = asyncio.create_task(asyncio.Event().wait())
    await operator._shut_down(cast("asyncio.Task[None]", renewing))


async def test_lease_is_given_back_once_the_last_thread_has_ended(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    operator, election = operator_with(threads, monkeypatch)
    work = asyncio.create_task(operator._stores.run_for("team-a", STORE, threads.work))
    await until(lambda: threads.at_work)
    stopping = asyncio.create_task(shut_down(operator))
    await asyncio.wait([stopping], timeout=0.1)
    assert election.released_during_work is None
    threads.release.set()
    await asyncio.gather(stopping, work)
    assert election.released_during_work is False


async def test_lease_is_not_given_back_while_a_thread_hangs_and_the_process_ends(
    threads: Threads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operator_module, "THREAD_SECONDS", 0.05)
    operator, election = operator_with(threads, monkeypatch)
    work = asyncio.create_task(operator._stores.run_for("team-a", STORE, threads.work))
    await until(lambda: threads.at_work)
    with pytest.raises(Ended):
        await shut_down(operator)
    assert election.released_during_work is None
    threads.release.set()
    await work


def test_guard_ends_the_process_when_the_lease_has_run_out_and_not_before() -> None:
    now, lost = [0.0], threading.Event()
    guard = LeaseGuard(lambda: 10.0, lost.set, pause=0.001, clock=lambda: now[0])
    guard.start()
    assert not lost.wait(0.05)
    now[0] = 10.0
    assert lost.wait(10)
    guard.stop()


def test_guard_lets_an_operator_without_the_lease_live() -> None:
    lost = threading.Event()
    guard = LeaseGuard(lambda: None, lost.set, pause=0.001)
    guard.start()
    assert not lost.wait(0.05)
    guard.stop()


STANDS_STILL = """
import os, sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from tracking_operator.runtime.lease_guard import LeaseGuard

def write():
    while True:
        print("x", flush=True)
        time.sleep(0.01)

started = time.monotonic()
LeaseGuard(lambda: started + 0.5, lambda: os._exit(1)).start()
ThreadPoolExecutor(1).submit(write)
time.sleep(60)  # the event loop
"""


def test_thread_that_writes_for_ever_dies_with_the_lease_though_the_loop_stands_still() -> None:
    started = time.monotonic()
    ended = subprocess.run(
        [sys.executable, "-c", STANDS_STILL], stdout=subprocess.PIPE, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert ended.stdout
    assert time.monotonic() - started < 25
