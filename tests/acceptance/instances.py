"""A HookHub with a web server and a worker for each test, on servers that start with a prepared database."""

import atexit
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path

from testbed.instance import Instance
from testbed.servers import Servers, temporary_home


@contextmanager
def running_instance(*, asgi: str = "config.asgi", **settings: str) -> Iterator[Instance]:
    """Run a HookHub; ``asgi`` is the module of its web server."""
    with temporary_home("hookhub-test-") as home:
        # Copying a prepared home saves starting three programs. The servers may run under another account, which must
        # remain the owner of its files.
        subprocess.run(["cp", "-a", f"{_prepared_home()}/.", home], check=True)
        with Servers(home) as servers, closing(Instance(servers, logs=home, WEB_WORKERS="1", **settings)) as instance:
            instance.commands["web"] = instance.commands["web"].replace("config.asgi", asgi)
            instance.start("web")
            instance.wait_until_ready()
            instance.start("worker")
            yield instance


@cache
def _prepared_home() -> Path:
    stack = ExitStack()
    atexit.register(stack.close)
    home = stack.enter_context(temporary_home("hookhub-template-"))
    Servers(home).prepare()
    return home
