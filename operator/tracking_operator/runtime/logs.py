"""Logs as JSON, one object per line, each with the namespace and name of the resource that it is about."""

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, TextIO

from tracking_operator.controllers.request import Request
from tracking_operator.foreign_text import printable

_key: ContextVar[Request | None] = ContextVar("key", default=None)

_QUIET: Final = {"kopf": logging.WARNING, "aiohttp": logging.WARNING, "asyncio": logging.WARNING}
"""Libraries whose INFO lines say nothing about a tracking server."""


@contextmanager
def about(key: Request) -> Iterator[None]:
    """Let every log line of this block, and of what it awaits, carry the key's kind, namespace and name."""
    token = _key.set(key)
    try:
        yield
    finally:
        _key.reset(token)


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON. What a line is about comes from ``about``, or from kopf."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, without its end."""
        line: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": printable(record.getMessage()),
            **_subject(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


def _subject(record: logging.LogRecord) -> dict[str, str]:
    key = _key.get()
    if key is not None:
        return {"kind": key.kind, "namespace": key.namespace, "name": key.name}
    reference = getattr(record, "k8s_ref", None)  # kopf's own way of saying what a line is about
    if not isinstance(reference, dict):
        return {}
    return {field: str(reference.get(field) or "") for field in ("kind", "namespace", "name")}


def configure_logging(level: str, stream: TextIO = sys.stderr) -> None:
    """Send all logs of the process to the stream as JSON; chatty libraries only from WARNING on."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name, quiet in _QUIET.items():
        logging.getLogger(name).setLevel(max(quiet, logging.getLevelName(level)))
    logging.captureWarnings(capture=True)
