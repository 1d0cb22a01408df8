"""TLS to Redis and PostgreSQL: the authority of the URL is trusted, and no other."""

import subprocess
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest
from celery import Celery
from django.db import connection
from kombu.exceptions import OperationalError as NotConnected
from redis import Redis, RedisError

from deliveries.rates import Counters
from deliveries.redis_link import LINK_ERRORS, RedisLink, pack
from hookhub.publishing.redis_stream.consumer import connect
from hookhub.service import celery
from hookhub.service.connections import broker, broker_tls, database
from testbed import pgbouncer
from testbed.processes import free_port, wait_for
from tests import debian
from tests import pgbouncer as programs
from tests.certificates import Identity

TIMEOUT = timedelta(seconds=5)


class Certificates(NamedTuple):
    """The authority of the servers, another one, and the servers' own."""

    authority: Path
    another: Path
    server: Path


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    folder.chmod(0o755)
    authority = Identity.make(folder / "ca.pem", "an authority")
    another = Identity.make(folder / "another.pem", "another authority")
    server = Identity.make(folder / "server.pem", "a server", issuer=authority, address="127.0.0.1")
    server.path.chmod(0o644)
    return Certificates(authority.path, another.path, server.path)


@pytest.fixture(scope="module")
def redis_url(certificates: Certificates, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Run a Redis that speaks nothing but TLS, and yield its URL without an authority."""
    port = free_port()
    # The one in the wheel knows no TLS.
    command = [debian.require("redis-server", package="redis-server"), "--port", "0", "--tls-port", str(port)]
    command += ["--tls-cert-file", str(certificates.server), "--tls-key-file", str(certificates.server)]
    command += ["--tls-ca-cert-file", str(certificates.authority), "--tls-auth-clients", "no", "--save", ""]
    with (tmp_path_factory.mktemp("redis") / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    url = f"rediss://127.0.0.1:{port}/0"
    wait_for(lambda: answers(f"{url}?ssl_ca_certs={certificates.authority}"), "Redis")
    yield url
    process.kill()
    process.wait()


def answers(url: str) -> bool:
    try:
        with Redis.from_url(url) as client:
            return bool(client.ping())
    except RedisError:
        return False


def queue_of(url: str) -> int:
    """Connect as a Celery worker does, and return the length of its queue."""
    assert celery.app.main == "hookhub"
    app = Celery(broker=broker(url), broker_use_ssl=broker_tls(url), set_as_current=False)
    options = {"socket_timeout": 5, "socket_connect_timeout": 5}
    with app.connection_for_read(transport_options=options) as link:
        return int(link.default_channel._size("hookhub"))


def test_every_user_of_redis_trusts_the_authority_of_the_url(redis_url: str, certificates: Certificates) -> None:
    url = f"{redis_url}?ssl_ca_certs={certificates.authority}"

    link = RedisLink(url, timeout=TIMEOUT)
    link.send(pack("PING"))
    assert link.wait_for_replies() == ["PONG"]
    link.close()
    with connect(url) as client:
        assert client.ping()
        assert Counters(lambda: client, prefix="tls").sync()
    assert queue_of(url) == 0


@pytest.mark.parametrize("is_another", [True, False])
def test_no_user_of_redis_trusts_another_authority(
    redis_url: str, certificates: Certificates, *, is_another: bool
) -> None:
    url = f"{redis_url}?ssl_ca_certs={certificates.another}" if is_another else redis_url

    with pytest.raises(LINK_ERRORS):
        RedisLink(url, timeout=TIMEOUT)
    with pytest.raises(LINK_ERRORS), connect(url) as client:
        client.ping()
    with pytest.raises((NotConnected, *LINK_ERRORS)):
        queue_of(url)


@pytest.fixture(scope="module")
def postgres_url(certificates: Certificates, django_db_setup: None) -> Iterator[str]:
    """Yield the URL of a database that is reached by TLS only, which PgBouncer speaks here."""
    url = f"postgresql://postgres@/{connection.settings_dict['NAME']}?host={connection.settings_dict['HOST']}&port=5432"
    tls = f"client_tls_sslmode = require\nclient_tls_cert_file = {certificates.server}\n"
    tls += f"client_tls_key_file = {certificates.server}\n"
    with pgbouncer.running(url, program=programs.program(), prepared=None, settings=tls) as through:
        yield through


@pytest.mark.parametrize(("authority", "works"), [("authority", True), ("another", False)])
def test_a_postgresql_is_verified_as_its_url_says(
    postgres_url: str, certificates: Certificates, authority: str, *, works: bool
) -> None:
    root = getattr(certificates, authority)
    settings = database(f"{postgres_url}?sslmode=verify-full&sslrootcert={root}", statement_timeout=1000)
    options = {key: value for key, value in settings["OPTIONS"].items() if key != "prepare_threshold"}
    names = {"dbname": settings["NAME"], "user": settings["USER"], "host": settings["HOST"], "port": settings["PORT"]}

    if works:
        with psycopg.connect(**names, **options) as made:
            assert made.pgconn.ssl_in_use
    else:
        with pytest.raises(psycopg.OperationalError, match="certificate verify failed"):
            psycopg.connect(**names, **options)


def test_a_host_that_the_certificate_does_not_name_is_refused(postgres_url: str, certificates: Certificates) -> None:
    url = postgres_url.replace("127.0.0.1", "localhost")

    with pytest.raises(psycopg.OperationalError, match="does not match host name"):
        psycopg.connect(f"{url}?sslmode=verify-full&sslrootcert={certificates.authority}")
