"""The service's command line: ``manage.py`` in a checkout, ``hookhub`` where the package is installed."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

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
        # The reader of the output has what it wanted, like `head`. Nothing is left to be written at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@contextmanager
def _readable_failures() -> Iterator[None]:
    """Exit with one sentence for what an operator can mend; `--traceback` shows where it happened."""
    from django.db import OperationalError, ProgrammingError

    from hookhub.embedded.processes import EmbeddedServersError

    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in OF_THE_SERVICE:
            raise
        sys.exit(f"The service needs {error.name}: pip install 'hookhub[service]', and [embedded] for its own servers.")
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
