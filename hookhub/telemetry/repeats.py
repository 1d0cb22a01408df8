"""Lines that repeat while the database or Redis is away: the log has each once in ten seconds, with their number."""

import logging
import re
import time

# By logger, how its messages about an outage begin. Each request and each tick would log one, of every process.
OUTAGES = {
    "celery.worker.consumer.consumer": (
        "consumer: Connection to broker lost",
        "consumer: Cannot connect",
        "Frequent restarts",
    ),
    "django.request": ("Service Unavailable",),
    "hookhub.api": ("The database is unavailable",),
    "hookhub.changes": ("Cannot listen for changes",),
    "hookhub.clock": ("Scheduler tick skipped",),
    "hookhub.doorbell": ("Cannot listen for wake-ups", "Redis did not accept the wake-up"),
    "hookhub.drain": ("The database is unavailable",),
    "hookhub.rates": ("Could not sync rate-limit counts with Redis",),
}
INTERVAL_SECONDS = 10.0
LINE_BREAKS = re.compile(r"\s*[\r\n]+\s*")


class OutageFilter(logging.Filter):
    """Passes on one record of each of these messages in ten seconds, with the number of those it kept back before."""

    def __init__(self) -> None:
        super().__init__()
        self._passed_at: dict[tuple[str, str], float] = {}
        self._kept_back: dict[tuple[str, str], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to log the record."""
        if not (starts := OUTAGES.get(record.name)):
            return True
        message = record.getMessage()
        key = next((start for start in starts if message.startswith(start)), None)
        return key is None or self._is_due((record.name, key), record)

    def _is_due(self, key: tuple[str, str], record: logging.LogRecord) -> bool:
        # Without a lock, which a process forked meanwhile would hold for ever: two threads at once may both log.
        now = time.monotonic()
        if now - self._passed_at.get(key, -INTERVAL_SECONDS) < INTERVAL_SECONDS:
            self._kept_back[key] = self._kept_back.get(key, 0) + 1
            return False
        self._passed_at[key] = now
        if kept_back := self._kept_back.pop(key, 0):
            record.repeated = kept_back
        return True


class TextLine(logging.Formatter):
    """Formats a record as one line, before the lines of its exception: an error of PostgreSQL has several."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the line."""
        record.message = LINE_BREAKS.sub(" ", record.message.strip())
        line = super().formatMessage(record)
        repeated = getattr(record, "repeated", 0)
        return f"{line} (and {repeated} more like it since the last)" if repeated else line
