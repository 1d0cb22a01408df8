"""The configuration of logging, as text or as JSON."""

from typing import Any


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
        "filters": {"outages": {"()": "hookhub.telemetry.repeats.OutageFilter"}},
        "handlers": {
            "console": {"class": stream, "formatter": "line", "filters": ["outages"]},
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
