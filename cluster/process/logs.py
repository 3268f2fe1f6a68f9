"""Logging: one line per event on stderr, as text for people or as one JSON object for machines.

A record's structured fields are its ``extra`` fields and, where the message is formatted from a
mapping, that mapping: ``log.info("worker %(slot)d started", {"slot": 0}, extra={"event": ...})``.
The text shows the message and those extra fields that are not already in it.
"""

from __future__ import annotations

import datetime
import json
import logging
import sys
from collections.abc import Mapping
from typing import Any, Literal

from cluster.process.log_queue import QueuedHandler

LogFormat = Literal["text", "json"]

LEVELS = ("debug", "info", "warning", "error")

#: What every LogRecord has; anything else on one came in through ``extra``.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

#: Marks the record of ``announce``, shown without time and level in text.
_ANNOUNCED = "announced"

#: What a traceback's lines begin with, so that none of them looks like a line of the log.
_INDENT = "    "

_STDERR = 2


def configure(log_format: LogFormat, level: str) -> None:
    """Send every record of at least ``level`` (one of LEVELS) to stderr; replaces what was set before.

    Nobody who logs waits for stderr. What waits is written when Python ends; call ``logging.shutdown``
    before ``os._exit``.
    """
    root = logging.getLogger()
    # A process may be started without stderr: its descriptor then is that of some other file.
    handler: logging.Handler = logging.NullHandler() if sys.stderr is None else QueuedHandler(_STDERR)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def lines_lost() -> int:
    """How many lines of this process have been lost because stderr did not take them in time."""
    handlers = logging.getLogger().handlers
    return sum(each.lines_lost for each in handlers if isinstance(each, QueuedHandler))


def announce(logger: logging.Logger, event: str, message: str, fields: Mapping[str, Any]) -> None:
    """Log what must be seen whatever the level is, such as ``ready``.

    ``message`` is formatted with ``fields`` (%-style); in text it is a line without time and level.
    """
    extra = {"event": event, _ANNOUNCED: True}
    logger.handle(
        logger.makeRecord(logger.name, logging.INFO, "", 0, message, (dict(fields),), None, extra=extra)
    )


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, then the record's fields (``event`` …)."""

    def format(self, record: logging.LogRecord) -> str:
        shown: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if isinstance(record.args, Mapping):
            shown.update(record.args)
        shown.update(_extra(record))
        if record.exc_info:
            shown["exception"] = self.formatException(record.exc_info)
        return json.dumps(shown, default=str)


class TextFormatter(logging.Formatter):
    """``TIME LEVEL message key=value …`` on one line; a traceback follows on indented lines of its own."""

    def format(self, record: logging.LogRecord) -> str:
        text = _visible(record.getMessage())
        if not getattr(record, _ANNOUNCED, False):
            text = f"{_time(record)} {record.levelname.lower():7} {text}"
        for key, value in _extra(record).items():
            if key != "event":
                text += _visible(f" {key}={_quoted(str(value))}")
        if record.exc_info:
            for line in self.formatException(record.exc_info).split("\n"):
                text += f"\n{_INDENT}{_visible(line)}"
        return text


def _visible(text: str) -> str:
    """``text``, in which each character that is not printed has its number in place of itself.

    A peer chooses stream names: none of them may begin a line of its own, steer a terminal, or turn round
    the order in which the rest of the line is shown.
    """
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else _numbered(ord(each)) for each in text)


def _numbered(code: int) -> str:
    if code <= 0xFF:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def _quoted(text: str) -> str:
    """``text`` as one word: in quotes if it would look like several."""
    if text and " " not in text and '"' not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _PLAIN and key != _ANNOUNCED}


def _time(record: logging.LogRecord) -> str:
    moment = datetime.datetime.fromtimestamp(record.created, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
