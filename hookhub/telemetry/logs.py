"""Logs of JSON objects, one on each line, from every process (HOOKHUB_LOG_FORMAT=json).

It is imported before Django's apps are ready, and by the web server's own process, which has no Django.
"""

import json
import logging
import logging.config
import os
import sys
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from deliveries.log_lines import PIPE_ATOMIC, chunk

# The fields that are cut, in this order, until a line fits: the end of an exception tells most.
CUT = ("exception", "stack", "message")
MARK = "…"
# Shorter ones are left as they are.
MIN_CUT = 40

log = logging.getLogger("hookhub")


class JsonLine(JsonFormatter):
    """Formats a record as a JSON object, with its exception in it and all that ``extra`` names."""

    def __init__(self) -> None:
        super().__init__(
            ["levelname", "name", "message", "process", "exc_info", "stack_info"],
            rename_fields={
                "levelname": "level",
                "name": "logger",
                "process": "pid",
                "exc_info": "exception",
                "stack_info": "stack",
            },
            timestamp="time",
            json_ensure_ascii=True,
        )

    def process_log_record(self, log_data: dict[str, Any]) -> dict[str, Any]:
        """Leave out what is empty, and cut what is too long for a line."""
        found = {name: value for name, value in super().process_log_record(log_data).items() if value is not None}
        for name in CUT:
            while len(str(found.get(name, ""))) > MIN_CUT and self._is_too_long(found):
                found[name] = cut(str(found[name]), keeps_end=name != "message")
        return found

    @staticmethod
    def _is_too_long(found: Mapping[str, Any]) -> bool:
        return len(json.dumps(found, default=str)) + 1 > PIPE_ATOMIC


def cut(text: str, *, keeps_end: bool) -> str:
    """Return three quarters of a text, with a mark where it was cut."""
    kept = len(text) * 3 // 4
    return f"{MARK}{text[-kept:]}" if keeps_end else f"{text[:kept]}{MARK}"


class OfJsonLines(logging.Formatter):
    """Formats a record whose message is JSON objects on a line each: each also gets what other lines have."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the lines."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat()
        start = (
            f'{{"time": "{time}", "level": "{record.levelname}", "logger": "{record.name}", "pid": {record.process}, '
        )
        return "\n".join([start + line[1:] for line in record.getMessage().split("\n")])


class WholeLines(logging.StreamHandler[Any]):
    """Writes lines so that those of several processes do not mix in their common pipe."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write the lines of a record, as many at a time as a pipe takes at once."""
        try:
            for part in chunk(self.format(record).split("\n")):
                self.stream.write(part + self.terminator)
            self.flush()
        except Exception:  # noqa: BLE001 - as the standard library's: logging must not end a process
            self.handleError(record)


def configure(settings: Mapping[str, Any]) -> None:
    """Configure logging, and log what Python would print itself: warnings, and exceptions that end a thread."""
    logging.config.dictConfig(dict(settings))
    logging.captureWarnings(capture=True)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread


def _log_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    log.critical("The process ended by an exception", exc_info=(kind, error, traceback))


def _log_uncaught_in_thread(found: threading.ExceptHookArgs) -> None:
    if found.exc_value is not None and not issubclass(found.exc_type, SystemExit):
        name = found.thread.name if found.thread else "unknown"
        log.error(
            "The thread %s ended by an exception",
            name,
            exc_info=(found.exc_type, found.exc_value, found.exc_traceback),
        )


def write_line(message: str, *_: object) -> None:
    """Write what Celery says in a signal handler, where nothing may be logged, as a line of the same form."""
    line = {
        "level": "WARNING",
        "logger": "celery",
        "message": message.strip(),
        "pid": os.getpid(),
        "time": datetime.now(UTC).isoformat(),
    }
    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, f"{json.dumps(line)}\n".encode())
