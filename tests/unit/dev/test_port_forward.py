"""A forwarded port is the one that kubectl announces, and kubectl is never kept waiting for a reader."""

import sys
from pathlib import Path

import pytest

from dev.local_cluster.failures import ClusterError
from dev.local_cluster.port_forward import forwarded_port
from tests.waiting import wait_until

TALKATIVE = """
import pathlib, sys, time
print("Forwarding from 127.0.0.1:40001 -> 5000", flush=True)
for number in range(20000):
    print("Handling connection for 40001", flush=True)
pathlib.Path(sys.argv[1]).touch()
time.sleep(60)
"""


def test_a_talkative_kubectl_goes_on(tmp_path: Path) -> None:
    done = tmp_path / "done"
    with forwarded_port([sys.executable, "-c", TALKATIVE, str(done)], {}, 5000, 0) as port:
        assert port == 40001
        wait_until(done.exists, 20, "all lines were read")


def test_a_refusal_is_passed_on() -> None:
    refusing = ["sh", "-c", "echo 'error: no such service'"]
    with pytest.raises(ClusterError, match="no such service"), forwarded_port(refusing, {}, 5000, 0):
        pytest.fail("nothing is forwarded")
