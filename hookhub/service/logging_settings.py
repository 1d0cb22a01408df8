"""The configuration of logging, as text or as JSON."""

import logging
from typing import Any


class RefusedRequests(logging.Filter):
    """Makes a warning on one line of a request that Django refuses, which anybody can send.

    Django logs it as an error, with a traceback of dozens of lines.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return True: every record is logged."""
        if record.name.startswith("django.security."):
            record.exc_info = record.exc_text = None
            record.levelno, record.levelname = logging.WARNING, "WARNING"
        return True


def logging_settings(*, as_json: bool, level: str) -> tuple[str, dict[str, Any]]:
    """Return Django's settings LOGGING_CONFIG and LOGGING for lines of a level and above."""
    line = "hookhub.telemetry.logs.JsonLine"
    bare = "hookhub.telemetry.logs.OfJsonLines"
    text = "{asctime} {levelname:<7} {name} {message}"
    stream = "hookhub.telemetry.logs.WholeLines" if as_json else "logging.StreamHandler"
    return "hookhub.telemetry.logs.configure" if as_json else "logging.config.dictConfig", {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "line": {"()": line}
            if as_json
            else {"()": "hookhub.telemetry.repeats.TextLine", "fmt": text, "style": "{"},
            "bare": {"()": bare} if as_json else {"format": "{message}", "style": "{"},
        },
        "filters": {
            "outages": {"()": "hookhub.telemetry.repeats.OutageFilter"},
            "refused": {"()": "hookhub.service.logging_settings.RefusedRequests"},
        },
        "handlers": {
            "console": {"class": stream, "formatter": "line", "filters": ["outages", "refused"]},
            "bare": {"class": stream, "formatter": "bare"},
        },
        "root": {"handlers": ["console"], "level": level},
        "loggers": {
            # Client errors such as 401 and 404 are in the access log; this logger is for server errors only.
            "django.request": {"level": "ERROR"},
            "celery": {"level": "WARNING"},
            # Of the worker's pool; billiard lets it propagate to no other.
            "multiprocessing": {"handlers": ["console"], "level": "WARNING"},
            # Pure JSON lines without a prefix, for programs to parse.
            "hookhub.attempts": {"handlers": ["bare"], "propagate": False},
            "hookhub.access": {"handlers": ["bare"], "level": "INFO", "propagate": False},
        },
    }
