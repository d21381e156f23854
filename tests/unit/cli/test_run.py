"""The command that starts the operator, as far as it needs no cluster."""

import subprocess
import sys

PROGRAM = """
import sys
import tracking_operator.cli.operator_program

packages = {name.partition(".")[0] for name in sys.modules}
own = {name for name in sys.modules if name.startswith("tracking_operator.isolation")}
print(sorted(packages & {"boto3", "botocore", "s3transfer"}), sorted(own))
"""


def test_the_operator_keeps_nothing_in_memory_that_only_other_commands_need() -> None:
    """The SDK of AWS takes 8 MiB: it is loaded for the first class with a bucket, and for the check of isolation."""
    found = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[] []"
