"""Every route that a real MLflow with a login has, and which of them answer somebody who has not logged in."""

import json
import os
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import urllib3

from tests.waiting import patient

AT_ONCE = 8
REFUSED = 401
PARAMETER = re.compile(r"<[^>]+>|\{[^}]+\}")
METHODS = {"GET", "POST", "PUT", "PATCH", "DELETE"}

LIST_ROUTES = """
import json
from mlflow.server import app as flask_app
from mlflow.server.auth import create_app

api = create_app(flask_app).openapi()["paths"]
routes = {(method.upper(), path) for path, methods in api.items() for method in methods}
routes |= {(method, rule.rule) for rule in flask_app.url_map.iter_rules() for method in rule.methods}
print(json.dumps(sorted(routes)))
"""
"""MLflow's routes are of two applications (mlflow/server/fastapi_app.py, 3.18.0): one asks the other for what it has not itself."""

Route = tuple[str, str]
"""A method and a path, with its parameters as the application writes them."""


def routes_of(python: Path, login_file: Path, service_file: Path) -> list[Route]:
    """The routes of the MLflow that ``python`` has, below the address of a server without a prefix."""
    environment = os.environ | {
        "_MLFLOW_SGI_NAME": "uvicorn",
        "MLFLOW_AUTH_CONFIG_PATH": str(login_file),
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_FLASK_SERVER_SECRET_KEY": "any",
        "PGSERVICEFILE": str(service_file),
    }
    done = subprocess.run(
        [python, "-c", LIST_ROUTES],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=patient(300),
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return [(method, path) for method, path in found if method in METHODS]


def not_refused(url: str, routes: list[Route]) -> dict[str, set[int]]:
    """The paths below ``url`` that do not ask somebody without a login for one, each with the statuses of its methods."""
    with urllib3.PoolManager(maxsize=AT_ONCE) as pool, ThreadPoolExecutor(AT_ONCE) as threads:

        def status(route: Route) -> int:
            method, path = route
            json_body: dict[str, str] | None = None if method in {"GET", "DELETE"} else {}
            address = url + PARAMETER.sub("x", path)
            return int(
                pool.request(method, address, json=json_body, retries=False, timeout=patient(60)).status
            )

        statuses = list(threads.map(status, routes))
    found: dict[str, set[int]] = {}
    for (_, path), answered in zip(routes, statuses, strict=True):
        if answered != REFUSED:
            found.setdefault(path, set()).add(answered)
    return found
