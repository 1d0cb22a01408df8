"""Lines of JSON: what they have, how long they are, and what a report of an error leaves out."""

import io
import json
import logging
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError

from deliveries.log_lines import PIPE_ATOMIC
from hookhub.telemetry import errors, logs
from hookhub.telemetry.logs import JsonLine, OfJsonLines, WholeLines

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def record(message: str, *values: object, **more: Any) -> logging.LogRecord:
    made = logging.LogRecord("hookhub.test", logging.WARNING, "file.py", 7, message, values, more.pop("exc_info", None))
    made.__dict__.update(more)
    return made


def test_a_record_is_one_object_with_what_extra_names() -> None:
    line = JsonLine().format(record("Could not render %s", "x\ny", delivery="d", webhook=7))

    assert "\n" not in line
    found = json.loads(line)
    assert found.pop("time").endswith("+00:00")
    assert isinstance(found.pop("pid"), int)
    assert found == {
        "level": "WARNING",
        "logger": "hookhub.test",
        "message": "Could not render x\ny",
        "delivery": "d",
        "webhook": 7,
    }


def raised(error: Exception) -> Any:
    try:
        raise error
    except type(error):
        return sys.exc_info()


def test_an_exception_is_in_the_object() -> None:
    found = json.loads(JsonLine().format(record("failed", exc_info=raised(ValueError("größer\n{")))))

    assert found["exception"].endswith("ValueError: größer\n{")


@pytest.mark.parametrize("text", ["x" * 100_000, "ü" * 50_000, "\n" * 30_000, "\x00" * 9000])
def test_a_line_fits_into_a_pipe_whatever_it_says(text: str) -> None:
    line = JsonLine().format(record("%s", text, exc_info=raised(ValueError(text))))

    assert len(line) < PIPE_ATOMIC
    assert {"message", "exception", "level"} <= json.loads(line).keys()


def test_what_cannot_be_written_as_json_is_written_as_text() -> None:
    assert "object at" in JsonLine().format(record("odd", delivery=object()))


def test_lines_of_json_get_the_common_fields() -> None:
    found = OfJsonLines().format(record("%s", '{"delivery": "a"}\n{"delivery": "b"}'))

    entries = [json.loads(line) for line in found.split("\n")]
    assert [entry["delivery"] for entry in entries] == ["a", "b"]
    assert all({"time", "level", "logger", "pid"} <= entry.keys() for entry in entries)


def test_no_write_is_longer_than_a_pipe_takes_at_once() -> None:
    class Pipe(io.StringIO):
        written: list[int] = []  # noqa: RUF012 - one for the test

        def write(self, text: str) -> int:
            self.written.append(len(text))
            return super().write(text)

    handler, pipe = WholeLines(), Pipe()
    handler.stream = pipe
    handler.setFormatter(OfJsonLines())
    handler.emit(record("%s", "\n".join(f'{{"delivery": "{number:036}"}}' for number in range(500))))

    assert max(Pipe.written) <= PIPE_ATOMIC
    assert [json.loads(line)["delivery"] for line in pipe.getvalue().splitlines()] == [
        f"{number:036}" for number in range(500)
    ]


def test_what_celery_says_is_a_line_too(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "__stderr__", None)
    logs.write_line("\nworker: Warm shutdown (MainProcess)\n", sys.stdout)

    assert json.loads(capfd.readouterr().err)["message"] == "worker: Warm shutdown (MainProcess)"


def report_of(error: Exception, **more: Any) -> Any:
    info = raised(error)
    values = [{"type": type(error).__name__, "value": str(error), "stacktrace": {"frames": [{"vars": {"x": SECRET}}]}}]
    event: Any = {"exception": {"values": values}, "request": {"headers": {"Authorization": SECRET}}, **more}
    return errors.scrubbed(event, {"exc_info": info})


def test_a_report_has_no_request_no_variables_and_no_secret() -> None:
    found = report_of(
        ValueError(f"bad {SECRET}\nand the payload"),
        extra={"delivery": "d", "request": f"<WSGIRequest {SECRET}>"},
        logentry={"message": "Rejected %s", "params": [SECRET], "formatted": f"Rejected {SECRET}"},
        breadcrumbs={"values": []},
    )

    assert "request" not in found
    assert found["extra"] == {"delivery": "d"}
    assert found["logentry"] == {"message": "Rejected whsec_***"}
    assert found["exception"]["values"][0]["value"] == "bad whsec_***"
    assert SECRET not in json.dumps(found)
    assert "payload" not in json.dumps(found)


def test_of_an_error_of_the_database_only_its_code_is_reported() -> None:
    cause = psycopg.errors.UniqueViolation("Key (payload)=(secret) already exists")
    error = IntegrityError(str(cause))
    error.__cause__ = cause

    assert report_of(error)["exception"]["values"][0]["value"] == "23505"


REFUSED = """
import logging.config
from django.core.exceptions import TooManyFieldsSent
from hookhub.service.logging_settings import logging_settings

how, settings = logging_settings(as_json=AS_JSON, level="INFO")
logging.config.dictConfig(settings)
try:
    raise TooManyFieldsSent("too many fields")
except TooManyFieldsSent as error:
    logging.getLogger("django.security.TooManyFieldsSent").error(str(error), exc_info=error)
    logging.getLogger("django.request").error("a bug", exc_info=error)
"""


@pytest.mark.parametrize("as_json", [False, True])
def test_a_request_that_django_refuses_is_one_line_and_no_error(*, as_json: bool) -> None:
    code = REFUSED.replace("AS_JSON", str(as_json))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    refused, *bug = done.stderr.splitlines()

    assert "too many fields" in refused
    assert "WARNING" in refused
    assert "Traceback" not in refused
    assert "a bug" in bug[0]
    assert "Traceback" in "".join(bug)


def test_a_request_that_django_refuses_is_not_reported() -> None:
    assert errors.scrubbed({"logger": "django.security.TooManyFieldsSent", "level": "error"}, {}) is None
    assert errors.scrubbed({"logger": "django.request", "level": "error"}, {}) is not None
