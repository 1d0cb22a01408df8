"""The service's command line: what it says, and how it ends, if a command fails or is interrupted."""

import os
import signal
import subprocess
import sys

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError
from django.db import OperationalError, ProgrammingError

from hookhub.embedded.servers import EmbeddedServersError
from hookhub.procfile import ROOT
from hookhub.service import command
from hookhub.service.management.commands.up import Command, is_free

REFUSED = 'connection to server at "127.0.0.1", port 1 failed: Connection refused\n\tIs the server running?\n'
NO_TABLE = 'relation "hookhub_event" does not exist\nLINE 1: SELECT FROM hookhub_event\n                    ^'


def missing(text: str) -> ProgrammingError:
    error = ProgrammingError(text)
    error.__cause__ = ValueError()
    error.__cause__.sqlstate = "42P01"  # type: ignore[attr-defined]
    return error


FAILURES = {
    "no database": (
        OperationalError(REFUSED),
        f"The database failed: {' '.join(REFUSED.split())}",
    ),
    "no tables": (
        missing(NO_TABLE),
        'The database failed: relation "hookhub_event" does not exist; create the tables with `manage.py migrate`',
    ),
    "a setting that is wrong": (ImproperlyConfigured("HOOKHUB_LEASE='x' is invalid"), "HOOKHUB_LEASE='x' is invalid"),
    "no embedded servers": (EmbeddedServersError("/x belongs to ada"), "/x belongs to ada"),
}


def fails_with(error: BaseException, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    def fail() -> None:
        raise error

    monkeypatch.setattr(command, "_run", fail)
    monkeypatch.setattr(sys, "argv", ["manage.py", "redeliver", *arguments])
    command.main()


@pytest.mark.parametrize(("error", "said"), FAILURES.values(), ids=FAILURES)
def test_what_an_operator_can_mend_is_said_in_one_sentence(
    monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        fails_with(error, monkeypatch)

    assert ended.value.code == f"CommandError: {said}"


@pytest.mark.parametrize(
    ("error", "arguments"),
    [(OperationalError(REFUSED), ["--traceback"]), (ProgrammingError("syntax error"), []), (ValueError("a bug"), [])],
)
def test_a_bug_has_its_traceback_and_so_has_what_asks_for_it(
    monkeypatch: pytest.MonkeyPatch, error: Exception, arguments: list[str]
) -> None:
    with pytest.raises(type(error)):
        fails_with(error, monkeypatch, *arguments)


def started(body: str) -> "subprocess.Popen[str]":
    """Start the command line with this body in place of a command's."""
    program = f"""
import signal, sys, time
from hookhub.service import command

# A shell without job control lets its background processes ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

def run():
    {body}

command._run = run
command.main()
"""
    return subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_reader_that_has_enough_ends_a_command_without_a_word(lines: int) -> None:
    with started(f"sys.stdin.readline(); print('x\\n' * {lines})") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        # It prints from here on.
        process.stdin.close()
        said = process.stderr.read()

    assert (process.returncode, said) == (1, "")


def test_ctrl_c_ends_a_command_without_a_word() -> None:
    with started("print('begun', flush=True); time.sleep(600)") as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGINT)
        said = process.stderr.read()

    assert (process.returncode, said) == (-signal.SIGINT, "")


def ended(*streams: str, body: str, encoding: str = "utf-8") -> "subprocess.CompletedProcess[str]":
    """Run the command line with these redirections of a shell, and with this body in place of a command's."""
    program = f"import sys\nfrom hookhub.service import command\ncommand._run = lambda: {body}\ncommand.main()"
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$0" -c "$1" {" ".join(streams)}', sys.executable, program],
        cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, "PYTHONIOENCODING": encoding},
    )  # fmt: skip


@pytest.mark.parametrize("lines", [1, 100_000])
def test_a_full_disk_is_said_in_one_sentence(lines: int) -> None:
    done = ended(">/dev/full", body=f"print('x\\n' * {lines})")

    assert (done.returncode, done.stderr) == (1, "CommandError: Cannot write: No space left on device.\n")


def test_a_command_whose_caller_has_closed_the_standard_streams_reads_nothing_and_writes_to_nobody() -> None:
    body = "print(sys.stdin.read(), [open('/dev/zero').fileno() > 2 or 1 / 0], file=sys.stderr) or print()"

    assert ended("<&-", ">&-", "2>&-", body=body).returncode == 0
    assert ended("<&-", ">&-", body=body).stderr == " [True]\n"


def test_what_the_encoding_of_the_output_does_not_have_is_escaped() -> None:
    assert ended(body="print('Starting …')", encoding="latin-1").stdout == "Starting \\u2026\n"


def test_an_argument_that_is_no_text_is_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    error = UnicodeEncodeError("utf-8", "\udcff", 0, 1, "surrogates not allowed")

    with pytest.raises(SystemExit) as told:
        fails_with(error, monkeypatch, "--organization", "\udcff")

    assert told.value.code == "CommandError: Argument 3 is not valid UTF-8."
    with pytest.raises(UnicodeEncodeError):
        fails_with(error, monkeypatch, "--organization", "acme")


@pytest.mark.parametrize("port", [-1, 65_536, 10**20])
def test_a_number_that_is_no_port_is_refused(port: int) -> None:
    with pytest.raises(CommandError, match="use one from 1 to 65535"):
        Command().handle(host="127.0.0.1", port=port, no_first_steps=True)


def test_an_address_of_another_machine_is_named_and_not_its_port() -> None:
    with pytest.raises(CommandError, match=r"Cannot listen on 192\.0\.2\.1: Cannot assign requested address"):
        is_free("192.0.2.1", 8000)
