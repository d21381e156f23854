"""`python -m tracking_operator.isolation.in_pod MODE`: try, or be the victim; print a line of JSON for each attempt.

attack WORLD [ID…]     make the attempts of an attacker's pod; all, or those named
server WORLD           those of a pod with the labels of a server's
victim WORLD           have a session, and an object in the bucket, until somebody ends the pod
hold WORLD             hold a session open until it ends, and say what has ended it
login WORLD            try the mounted credentials: database and bucket
leave WORLD            leave an object under the prefix
plant WORLD            and look, flood, drain, exists: one function of hostile_database.py each
"""

import json
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from tracking_operator.isolation.attempts import Attempt, Book, CannotTryError, Refused, Seen, Verdict
from tracking_operator.isolation.in_pod import (
    buckets,
    databases,
    hostile_database,
    like_the_server,
    login,
    network,
)
from tracking_operator.isolation.in_pod.scene import DATABASE_SERVICE, Scene

BOOKS: tuple[Book[Scene], ...] = (databases.BOOK, buckets.BOOK, login.BOOK, network.BOOK)
REFUSALS = (Refused, psycopg2.Error, BotoCoreError, ClientError, HTTPClientError, OSError)
SECONDS_TO_LIVE = 600
READY = "ready"
SINGLE_ACTS: dict[str, Callable[[Scene], object]] = {
    "leave": buckets.leave,
    "plant": hostile_database.plant,
    "look": hostile_database.look,
    "flood": hostile_database.flood,
    "drain": hostile_database.drain,
    "exists": hostile_database.exists,
}


def main(mode: str, path: str, *ids: str) -> None:
    """Do one of the modes above."""
    scene = Scene.read(Path(path))
    if mode == "attack":
        for book in BOOKS:
            attack(book, scene, ids)
    elif mode == "server":
        attack(like_the_server.BOOK, scene, ids)
    elif mode == "victim":
        be_the_victim(scene)
    elif mode == "hold":
        hold_a_session()
    elif mode == "login":
        log_in(scene)
    else:
        show(mode, outcome_of(SINGLE_ACTS[mode], scene))


def attack(book: Book[Scene], scene: Scene, ids: tuple[str, ...]) -> None:
    """Make the attempts one after the other."""
    for attempt, act in book.acts.values():
        if not ids or attempt.id in ids:
            show(attempt.id, seen_of(attempt, act, scene))


def seen_of(attempt: Attempt, act: Callable[[Scene], object], scene: Scene) -> Seen:
    """Make one attempt; one that breaks is reported, and the next one made."""
    try:
        return outcome_of(act, scene)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is not a refusal
        return Seen.of(Verdict.NOT_TRIED, f"{attempt.id} broke: {error!r}")


def outcome_of(act: Callable[[Scene], object], scene: Scene) -> Seen:
    """Do something, and say what came of it."""
    try:
        return Seen.of(Verdict.DONE, act(scene))
    except CannotTryError as error:
        return Seen.of(Verdict.NOT_TRIED, error)
    except REFUSALS as error:
        return Seen.of(Verdict.REFUSED, error)


def show(name: str, seen: Seen) -> None:
    """Print what came of it."""
    print(json.dumps({"id": name, "verdict": seen.verdict, "words": seen.words}), flush=True)


def be_the_victim(scene: Scene) -> None:
    """Have what others try to get."""
    place: dict[str, Any] = {"Bucket": scene.own.bucket, "Key": buckets.key(scene.own, scene)}
    if scene.own.bucket:
        buckets.client().put_object(**place, Body=b"The other team's.\n")
    connection = psycopg2.connect(service=DATABASE_SERVICE) if scene.own.database else None
    if connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute("SELECT 'The other team''s.'")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    print(READY, flush=True)
    try:
        time.sleep(SECONDS_TO_LIVE)
    finally:
        if scene.own.bucket:
            buckets.client().delete_object(**place)


def hold_a_session() -> None:
    """Ask the database again and again in one session."""
    connection = psycopg2.connect(service=DATABASE_SERVICE)
    connection.autocommit = True
    print(READY, flush=True)
    deadline = time.monotonic() + SECONDS_TO_LIVE
    try:
        while time.monotonic() < deadline:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            time.sleep(0.2)
    except psycopg2.Error as error:
        show("session", Seen.of(Verdict.REFUSED, error))
    else:
        show("session", Seen.of(Verdict.DONE, "the session lives on"))


def log_in(scene: Scene) -> None:
    """Use the credentials, which may be those of a server that is gone."""
    tries: dict[str, Callable[[Scene], object]] = {"database": databases.use_own, "bucket": buckets.use_own}
    for name, act in tries.items():
        show(name, outcome_of(act, scene))


if __name__ == "__main__":
    main(*sys.argv[1:])
