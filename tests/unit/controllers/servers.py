"""MLflow's API without MLflow: answers as it is told to, at once or never, and remembers what it was asked."""

import asyncio
from typing import cast
from urllib.parse import urlsplit

from tracking_operator.mlflow.client import Answer, Login, MlflowApi, Target

NEVER = Answer(0)


class AnsweringServers:
    """All servers of a test."""

    def __init__(self, *answers: Answer) -> None:
        """Give the answers one after the other, and the last one for ever."""
        self.answers = list(answers or [Answer(200)])
        self.asked: list[tuple[Target, Login | None]] = []
        self.idle: dict[str, int | None] = {}
        """How long ago the pod of an address was asked something."""

    def as_client(self) -> MlflowApi:
        """These servers in the place of the real client."""
        return cast(MlflowApi, self)

    async def idle_seconds(self, target: Target) -> int | None:
        """Tell how long nobody has asked a pod anything."""
        self.asked.append((target, None))
        return self.idle.get(urlsplit(target.url).hostname or "")

    async def answer(self, target: Target, login: Login | None = None) -> Answer:
        """Answer a request for experiments."""
        self.asked.append((target, login))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is NEVER:
            await asyncio.Event().wait()
        return answer

    async def usernames(self, target: Target, admin: Login) -> tuple[Answer, frozenset[str]]:
        """Tell the users: those that each server with a login has."""
        return Answer(200), frozenset({admin.username})
