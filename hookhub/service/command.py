"""The service's command line: ``manage.py`` in a checkout, ``hookhub`` where the package is installed."""

import os
import sys
from contextlib import AbstractContextManager, nullcontext

from hookhub import secret_arguments

# These touch neither the database nor Redis, or look after the servers themselves.
NEED_NO_SERVERS = {
    None, "help", "--help", "-h", "version", "--version", "up", "run", "listen", "post_receive", "send_event",
    "spectacular", "check", "findstatic", "collectstatic",
}  # fmt: skip
# What a plain `pip install hookhub` leaves out, because a project that has HookHub among its apps needs none of it.
OF_THE_SERVICE = frozenset({"billiard", "celery", "httptools", "kombu", "whitenoise"})


def main() -> None:
    """Run the management command that the arguments name, with the embedded servers if it needs them."""
    if place := secret_arguments.misplaced(sys.argv[1:]):
        sys.exit(secret_arguments.refusal(place))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
    try:
        _run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] not in OF_THE_SERVICE:
            raise
        sys.exit(f"The service needs {error.name}: pip install 'hookhub[service]', and [embedded] for its own servers.")


def _run() -> None:
    from django.conf import settings
    from django.core.management import execute_from_command_line

    from hookhub.embedded import servers

    command = sys.argv[1] if len(sys.argv) > 1 else None
    if command in NEED_NO_SERVERS or not (settings.EMBEDDED_DATABASE or settings.EMBEDDED_REDIS):
        running: AbstractContextManager[None] = nullcontext()
    else:
        running = servers.running(servers.home(), postgres=settings.EMBEDDED_DATABASE, redis=settings.EMBEDDED_REDIS)
    with running:
        execute_from_command_line(sys.argv)
