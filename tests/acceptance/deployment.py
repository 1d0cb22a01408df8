"""The settings of a deployment: a PostgreSQL and a Redis given by URL, and nothing of development."""

import os
import sys
from pathlib import Path

from redis import Redis

from bench.stage import free_port
from hookhub import embedded

REDIS_USER, REDIS_PASSWORD = "deployment", "a-password-of-redis"


def settings_of_a_deployment(home: Path, *, port: int, programs: Path | None = None, **more: str) -> dict[str, str]:
    """Return the variables of a deployment on the servers of ``home``, which run already.

    ``programs`` is the folder whose python and granian are used; by default this interpreter's.
    """
    return {
        "DATABASE_URL": embedded.database_url(home),
        "REDIS_URL": embedded.redis_url(home),
        # Nothing of a deployment may come from an embedded home.
        "HOOKHUB_HOME": "/nonexistent",
        "HOOKHUB_DEVELOPMENT": "0",
        "HOOKHUB_SECRET_KEY": "a long and random text for this test only",
        "HOOKHUB_ENCRYPTION_KEYS": "bXktdGhpcnR5LXR3by1ieXRlLWxvbmcta2V5LTEyMzQ=",
        "HOOKHUB_SERVED_HOSTS": "127.0.0.1",
        "PORT": str(port),
        "PATH": f"{programs or Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        **more,
    }


def redis_over_tcp(home: Path) -> str:
    """Have the Valkey of ``home`` listen on TCP as well, for a user with a password, and return that user's URL."""
    port = free_port()
    with Redis.from_url(embedded.redis_url(home)) as redis:
        redis.config_set("bind", "127.0.0.1")
        redis.config_set("port", port)
        redis.acl_setuser(
            REDIS_USER, enabled=True, passwords=f"+{REDIS_PASSWORD}", keys="*", channels="*", commands=["+@all"]
        )
    return f"redis://{REDIS_USER}:{REDIS_PASSWORD}@127.0.0.1:{port}/0"
