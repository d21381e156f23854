"""Loaded by Python itself at the start of MLflow's processes: changes modules of others as soon as they are imported, and nothing else.

A server that cannot be kept from trusting localhost does not start. Where only memory is at stake, it says so in its log and goes on:
a team's image may have another release. ``tests/stores/test_large_artifacts.py`` asks each version that is offered what it does.
"""

import importlib.machinery
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, MutableMapping, Sequence
from contextvars import copy_context
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import IO, TYPE_CHECKING, Final, Protocol

from tracking_operator.pod_tools.collection import collect_seldom
from tracking_operator.pod_tools.one_process import become_uvicorn, end_when_told
from tracking_operator.pod_tools.served_application import listen_by_both_families, serve_changed

if TYPE_CHECKING:
    from anyio.streams.memory import MemoryObjectReceiveStream

Change = Callable[[ModuleType], None]

PIECE: Final = 64 * 2**10
"""As much of a file is read at once. Werkzeug's own pieces are of 8 KiB, and each one asks for a thread."""

Environment = MutableMapping[str, object]
WsgiApp = Callable[[Environment, Callable[..., object]], Iterable[bytes]]
Send = Callable[[Mapping[str, object]], Awaitable[None]]


class Responder(Protocol):
    """The part of Starlette's WSGIResponder that matters here."""

    app: WsgiApp
    stream_receive: "MemoryObjectReceiveStream[Mapping[str, object]]"
    answer: "WsgiAnswer"


class WsgiAnswer:
    """What a WSGI application answers, read a piece at a time by whatever thread is free."""

    def __init__(self, app: WsgiApp, environ: Environment, start_response: Callable[..., object]) -> None:
        environ["wsgi.file_wrapper"] = in_larger_pieces
        # A generator of Flask's may set a context variable when it begins and take it back when it ends.
        self._context = copy_context()
        self._body = self._context.run(app, environ, start_response)
        self._pieces = iter(self._body)
        try:
            # Only with its first piece an application has to have said what it answers.
            self._first = self._next()
        except BaseException:
            self.close()
            raise

    def piece(self) -> bytes | None:
        """The next piece, None at the end."""
        if self._first is None:
            return self._next()
        first, self._first = self._first, None
        return first

    def close(self) -> None:
        """Let the application go of what it answers with; it need not have been read."""
        if close := getattr(self._body, "close", None):
            self._context.run(close)

    def _next(self) -> bytes | None:
        return self._context.run(next, self._pieces, None)


def in_larger_pieces(file: IO[bytes], _size: int = PIECE) -> Iterable[bytes]:
    """A file as what a WSGI application answers."""
    from werkzeug.wsgi import FileWrapper

    return FileWrapper(file, PIECE)


def begin_to_answer(self: Responder, environ: Environment, start_response: Callable[..., object]) -> None:
    """Have the application answer, in a thread, which is free as soon as the answer has begun."""
    self.answer = WsgiAnswer(self.app, environ, start_response)


async def send_answer(self: Responder, send: Send) -> None:
    """Hand the answer on. While its reader takes nothing it has no thread, and one piece of it is in memory."""
    from anyio import CancelScope, to_thread

    try:
        async with self.stream_receive:
            async for message in self.stream_receive:
                await send(message)
        # The application has begun to answer, or has failed, which is told elsewhere.
        answer = getattr(self, "answer", None)
        while answer and (piece := await to_thread.run_sync(answer.piece)) is not None:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        if answer:
            await send({"type": "http.response.body", "body": b""})
    finally:
        if answer := getattr(self, "answer", None):
            with CancelScope(shield=True):
                await to_thread.run_sync(answer.close)


def answer_piece_by_piece(wsgi: ModuleType) -> None:
    """Have what the WSGI application answers wait for whoever reads it, and no thread wait with it.

    Starlette's bridge, which MLflow's is made of, hands the pieces on by a queue without an end (starlette/middleware/wsgi.py,
    ``create_memory_object_stream(math.inf)``): a file that is read more slowly than it is sent is in memory as a whole. With an
    end, the thread that fills it would wait for the reader, and a process has 40 threads: so many slow strangers would have all.
    """
    responder = getattr(wsgi, "WSGIResponder", None)
    if responder is None or not (hasattr(responder, "wsgi") and hasattr(responder, "sender")):
        print(
            "tracking-operator: large files are in memory as a whole here while they are sent.",
            file=sys.stderr,
        )
        return
    responder.wsgi = begin_to_answer
    responder.sender = send_answer


CHANGES: Final[Mapping[str, Change]] = {
    "mlflow.utils.process": become_uvicorn,
    "uvicorn.config": serve_changed,
    "uvicorn.server": listen_by_both_families,
    "starlette.middleware.wsgi": answer_piece_by_piece,
}
"""By the module's name."""


class WhenImported(MetaPathFinder):
    """Finds the modules that are changed, in order to do so once they are loaded."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module as Python does."""
        change = CHANGES.get(fullname)
        if change is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path, target)
        if spec is None or spec.loader is None:
            return spec
        load = spec.loader.exec_module

        def load_and_change(module: ModuleType) -> None:
            load(module)
            change(module)

        spec.loader.exec_module = load_and_change  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Watch over what is imported from now on."""
    end_when_told()
    collect_seldom()
    sys.meta_path.insert(0, WhenImported())
