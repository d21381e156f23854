"""Let DVC keep its data in the team's tracking server: nobody who works with the data needs keys of a bucket.

A server that proxies artifacts takes and gives files below an experiment at `/api/2.0/mlflow-artifacts/artifacts/ID/…`
(https://mlflow.org/docs/latest/self-hosting/architecture/artifact-store/). DVC's HTTP remote speaks just that: PUT, GET
and HEAD with a user and a password (https://dvc.org/doc/user-guide/data-management/remote-storage/http).

Reads MLFLOW_TRACKING_URI, MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD, as MLflow does. What it writes is in
`.dvc/config.local`, which git ignores and only its owner can read, as the password stands in it.
"""

import os
import sys
from pathlib import Path

import mlflow
from dvc.repo import Repo

EXPERIMENT = "wine-data"
"""Beside the experiments with runs, so that who deletes those deletes no data."""
REMOTE = "team"
PROXIED = "mlflow-artifacts:"


def main() -> None:
    """Make the experiment for the data, unless it is there, and the remote that leads to it."""
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if not server:
        sys.exit("MLFLOW_TRACKING_URI is not set: it says which tracking server is your team's.")
    experiment = mlflow.set_experiment(EXPERIMENT)
    if not experiment.artifact_location.startswith(PROXIED):
        sys.exit(
            f"{server} does not take files itself: its experiment {EXPERIMENT} is at {experiment.artifact_location}."
            " Use DVC's remote for that place, with the keys that you have for it."
        )
    url = f"{server.rstrip('/')}/api/2.0/mlflow-artifacts/artifacts/{experiment.experiment_id}/dvc"
    write_remote(url, os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD"))
    print(f"dvc push and dvc pull use {url}")


def write_remote(url: str, user: str | None, password: str | None) -> None:
    """Name the remote in the configuration that stays on this machine."""
    login = {"auth": "basic", "user": user, "password": password} if user else {}
    repository = Repo()
    with repository.config.edit("local") as config:
        config["core"]["remote"] = REMOTE
        config["remote"][REMOTE] = {"url": url, "method": "PUT", **login}
    Path(repository.root_dir, ".dvc", "config.local").chmod(0o600)


if __name__ == "__main__":
    main()
