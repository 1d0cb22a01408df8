"""The log during an outage: each message once in ten seconds, on a line of its own, with the number of the others."""

import logging
import subprocess
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
from celery.worker.consumer import consumer

from hookhub.procfile import ROOT
from hookhub.service.logging_settings import logging_settings
from hookhub.telemetry import repeats
from hookhub.telemetry.repeats import INTERVAL_SECONDS, OUTAGES, OutageFilter, TextLine

UNAVAILABLE = "The database is unavailable: %s"


def record(name: str = "hookhub.api", message: str = UNAVAILABLE, *args: object) -> logging.LogRecord:
    return logging.LogRecord(name, logging.ERROR, __file__, 1, message, args or ("refused",), None)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(repeats, "time", found)
    return found


def test_a_message_about_an_outage_is_logged_once_in_ten_seconds_with_the_number_of_the_others(clock: Clock) -> None:
    outages = OutageFilter()

    first = [outages.filter(record()) for _ in range(500)]
    clock.now += INTERVAL_SECONDS
    later = record()

    assert first == [True] + [False] * 499
    assert outages.filter(later)
    assert TextLine("%(message)s").format(later) == (
        "The database is unavailable: refused (and 499 more like it since the last)"
    )
    assert not outages.filter(record())


def test_other_messages_are_all_logged(clock: Clock) -> None:
    del clock
    outages = OutageFilter()
    others = [("hookhub.api", "Cannot decrypt: %s"), ("hookhub.leases", UNAVAILABLE), ("hookhub.attempts", "%s")]
    others.append(("django.request", "Internal Server Error: %s"))

    assert all(outages.filter(record(*other)) for other in others for _ in range(3))


def test_what_django_logs_of_each_request_is_one_too(clock: Clock) -> None:
    del clock
    outages = OutageFilter()
    lines = [record("django.request", "%s: %s", "Service Unavailable", f"/v1/events/{number}") for number in range(3)]

    assert [outages.filter(line) for line in lines] == [True, False, False]


def test_each_logger_has_its_own(clock: Clock) -> None:
    del clock
    outages = OutageFilter()

    assert [outages.filter(record("hookhub.drain")), outages.filter(record()), outages.filter(record())] == [
        True, True, False,
    ]  # fmt: skip


def test_an_error_of_several_lines_is_one_line_before_its_traceback() -> None:
    found = record("hookhub.api", UNAVAILABLE, "closed\n\tThis probably means\r\n\tthe server terminated.\n")
    found.exc_text = "Traceback\n  …"

    assert TextLine("%(levelname)s %(message)s").format(found).split("\n") == [
        "ERROR The database is unavailable: closed This probably means the server terminated.", "Traceback", "  …",
    ]  # fmt: skip


@pytest.mark.parametrize("as_json", [False, True])
def test_the_services_log_has_the_filters(as_json: bool) -> None:
    _, found = logging_settings(as_json=as_json, level="INFO")

    console: dict[str, Any] = found["handlers"]["console"]
    assert [found["filters"][name]["()"] for name in console["filters"]] == [
        "hookhub.telemetry.repeats.OutageFilter",
        "hookhub.service.logging_settings.RefusedRequests",
    ]


def test_the_messages_are_those_of_the_code() -> None:
    ours = "".join(path.read_text() for top in ("hookhub", "deliveries") for path in (ROOT / top).rglob("*.py"))
    of_others = Path(str(consumer.__file__)).read_text() + f"'{HTTPStatus.SERVICE_UNAVAILABLE.phrase}'"
    missing = [
        (name, start)
        for name, starts in OUTAGES.items()
        for start in starts
        if not any(f"{quote}{start}" in (ours if name.startswith("hookhub") else of_others) for quote in "'\"\n")
    ]

    assert missing == []


ADVISED = """
import logging
import warnings
from celery.exceptions import CPendingDeprecationWarning
from celery.signals import celeryd_after_setup
from celery.worker.consumer import consumer
from hookhub.service.celery import app

app.log.setup("WARNING")
logging.basicConfig()
celeryd_after_setup.send(None, instance=None, conf=app.conf)
for message in (consumer.CANCEL_TASKS_BY_DEFAULT, "another"):
    warnings.warn(message, CPendingDeprecationWarning)
"""


def test_celerys_advice_about_a_lost_connection_is_not_logged() -> None:
    done = subprocess.run([sys.executable, "-c", ADVISED], cwd=ROOT, capture_output=True, text=True, check=True)

    assert ["another" in done.stderr, "breaking change" in done.stderr] == [True, False]
