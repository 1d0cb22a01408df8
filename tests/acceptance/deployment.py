"""The settings of a deployment: PostgreSQL and Redis given by URL, and no development mode."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from redis import Redis, RedisError

from hookhub.embedded import servers
from hookhub.embedded.valkey import valkey_binary
from hookhub.procfile import ROOT
from testbed import pgbouncer
from testbed.processes import free_port, wait_for


class Valkey(NamedTuple):
    """The URLs of a Valkey over TCP for its two users: web servers and workers, and publishing programs."""

    url: str
    producer_url: str


def settings_of_a_deployment(home: Path, *, port: int, programs: Path | None = None, **more: str) -> dict[str, str]:
    """Return the environment of a deployment that uses the running servers of ``home``.

    ``programs`` is the folder whose python and celery are used; by default this interpreter's.
    """
    return {
        "DATABASE_URL": pgbouncer.pooled(servers.database_url(home)),
        "REDIS_URL": servers.redis_url(home),
        # A deployment must not use anything from an embedded home.
        "HOOKHUB_HOME": "/nonexistent",
        "HOOKHUB_DEVELOPMENT": "0",
        "HOOKHUB_SECRET_KEY": "a long and random text for this test only",
        "HOOKHUB_ENCRYPTION_KEYS": "bXktdGhpcnR5LXR3by1ieXRlLWxvbmcta2V5LTEyMzQ=",
        "HOOKHUB_SERVED_HOSTS": "127.0.0.1",
        "PORT": str(port),
        "PATH": f"{programs or Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }


@contextmanager
def valkey_of_a_deployment(folder: Path) -> Iterator[Valkey]:
    """Run the Valkey of docker-compose.yml with its own script and users, on a loopback port."""
    port, password, producer = free_port(), "0123456789abcdef", "fedcba9876543210"
    environment = {
        "PATH": f"{valkey_binary().parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(folder),
        "VALKEY_PASSWORD": password,
        "VALKEY_PRODUCER_PASSWORD": producer,
    }
    options = ["--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    with (folder / "valkey-of-a-deployment.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", str(ROOT / "deploy" / "valkey.sh"), *options], env=environment, stdout=log, stderr=log
        )
    url = f"redis://hookhub:{password}@127.0.0.1:{port}/0"
    try:
        wait_for(lambda: answers(url), "Valkey")
        yield Valkey(url, producer_url=f"redis://producer:{producer}@127.0.0.1:{port}/0")
    finally:
        process.terminate()
        process.wait(30)


def answers(url: str) -> bool:
    try:
        with Redis.from_url(url) as redis:
            return bool(redis.ping())
    except RedisError:
        return False
