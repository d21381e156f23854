"""`python -m dev.monitoring`: write the alerts, the dashboard and the list of metrics; `--check` says what is out of date."""

import argparse
import sys
from pathlib import Path
from typing import Final

from dev.deploy import ROOT
from dev.monitoring.alerts import RUNBOOKS, prometheus_rule
from dev.monitoring.dashboard import dashboard
from dev.monitoring.reference import metrics_page
from tracking_operator.api.crds import as_yaml

_HEADER: Final = f"""# Generated from dev/monitoring/alerts.py by `make generate`. Do not edit: changes will be lost.
# Put it where your Prometheus looks for rules. Its runbooks are in docs/runbooks/: replace {RUNBOOKS}
# by where you have them.
"""


def generated_files() -> dict[Path, str]:
    """Return the content of each generated file, by its path in the repository."""
    return {
        Path("manifests/monitoring/alerts.yaml"): _HEADER + as_yaml(prometheus_rule()),
        Path("manifests/monitoring/dashboard.json"): dashboard(),
        Path("docs/reference/metrics.md"): metrics_page(),
    }


def stale_files(root: Path = ROOT) -> dict[Path, str]:
    """Return the generated files that are missing or differ, with what they should be."""
    return {
        path: text
        for path, text in generated_files().items()
        if not (root / path).exists() or (root / path).read_text(encoding="utf-8") != text
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m dev.monitoring", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    options = parser.parse_args(arguments)
    stale = stale_files()
    for path, text in stale.items():
        print(f"{path} {'is out of date; run `make generate`' if options.check else 'written'}")
        if not options.check:
            (ROOT / path).write_text(text, encoding="utf-8")
    return 1 if options.check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
