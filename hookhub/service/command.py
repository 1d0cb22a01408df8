"""The service's command line: ``manage.py`` in a checkout, ``hookhub`` where the package is installed."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

from hookhub import secret_arguments

# These touch neither the database nor Redis, or look after the servers themselves.
NEED_NO_SERVERS = {
    None, "help", "--help", "-h", "version", "--version", "up", "run", "listen", "post_receive", "send_event",
    "spectacular", "check", "findstatic", "collectstatic",
}  # fmt: skip
# What a plain `pip install hookhub` leaves out, because a project that has HookHub among its apps needs none of it.
OF_THE_SERVICE = frozenset({"billiard", "celery", "httptools", "kombu", "whitenoise"})
UNDEFINED_TABLE = "42P01"


def main() -> None:
    """Run the management command that the arguments name, with the embedded servers if it needs them."""
    _complete_standard_streams()
    if place := secret_arguments.misplaced(sys.argv[1:]):
        sys.exit(secret_arguments.refusal(place))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
    try:
        with _readable_failures():
            _run()
            # What is still buffered would fail where no exception can be caught.
            sys.stdout.flush()
    except KeyboardInterrupt:
        # As a program ends that does not catch it, which shells and their scripts look at.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BrokenPipeError:
        # The reader of the output has what it wanted, like `head`.
        _discard_output()
        sys.exit(1)
    except OSError as error:
        if error.errno != errno.ENOSPC or error.filename is not None or "--traceback" in sys.argv:
            raise
        _discard_output()
        sys.exit(f"CommandError: Cannot write: {error.strerror}.")


def _complete_standard_streams() -> None:
    """Open /dev/null where the caller has closed a standard stream; otherwise the next socket would take its place.

    Characters that the output's encoding does not have are escaped.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            stream = Path(os.devnull).open(mode)  # noqa: SIM115 - for as long as the process runs
            # Also for what `run` replaces this process by.
            os.set_inheritable(stream.fileno(), True)  # noqa: FBT003 - it has no name
            setattr(sys, name, stream)
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout.errors == "strict":
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let nothing be left to be written at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def _readable_failures() -> Iterator[None]:
    """Exit with one sentence for what an operator can mend; `--traceback` shows where it happened."""
    from django.core.exceptions import ImproperlyConfigured
    from django.db import OperationalError, ProgrammingError

    from hookhub.embedded.processes import EmbeddedServersError

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in OF_THE_SERVICE:
            raise
        sys.exit(f"The service needs {error.name}: pip install 'hookhub[service]', and [embedded] for its own servers.")
    except ImproperlyConfigured as error:
        if "--traceback" in sys.argv:
            raise
        sys.exit(f"CommandError: {error}")
    except (OperationalError, ProgrammingError, EmbeddedServersError) as error:
        if "--traceback" in sys.argv:
            raise
        is_missing = getattr(error.__cause__, "sqlstate", None) == UNDEFINED_TABLE
        if isinstance(error, ProgrammingError) and not is_missing:
            raise
        # Without the lines of the statement, and without line breaks.
        reason = " ".join(str(error).partition("\nLINE ")[0].split())
        advice = "; create the tables with `manage.py migrate`" if is_missing else ""
        kind = "" if isinstance(error, EmbeddedServersError) else "The database failed: "
        sys.exit(f"CommandError: {kind}{reason}{advice}")
    except UnicodeEncodeError:
        number = next((number for number, text in enumerate(sys.argv) if not _is_text(text)), None)
        if number is None or "--traceback" in sys.argv:
            raise
        sys.exit(f"CommandError: Argument {number} is not valid {sys.getfilesystemencoding().upper()}.")


def _is_text(argument: str) -> bool:
    """Return whether an argument is text: Python keeps other bytes as characters that no encoding has."""
    return not any("\ud800" <= letter <= "\udfff" for letter in argument)


def _run() -> None:
    from django.conf import settings

    from hookhub.embedded import servers
    from hookhub.service.management_utility import Utility

    command = sys.argv[1] if len(sys.argv) > 1 else None
    if command in NEED_NO_SERVERS or not (settings.EMBEDDED_DATABASE or settings.EMBEDDED_REDIS):
        running: AbstractContextManager[None] = nullcontext()
    else:
        running = servers.running(servers.home(), postgres=settings.EMBEDDED_DATABASE, redis=settings.EMBEDDED_REDIS)
    with running:
        Utility(sys.argv).execute()
