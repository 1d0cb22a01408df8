"""Redis behind Sentinels: the master changes while events are published, and none is lost."""

import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis, RedisError

from deliveries.redis_link import pool_for
from hookhub.client import Event, HookHubError
from hookhub.stream_client import StreamPublisher
from testbed.instance import Instance
from testbed.processes import wait_for
from testbed.sentinels import WatchedRedis
from testbed.servers import Servers
from tests import debian
from tests.acceptance.instances import prepared_home
from tests.certificates import Identity
from tests.receiver import Receiver

pytestmark = pytest.mark.acceptance

# Between two events of each publisher: at once, they would only keep the processor from what is tested.
PAUSE_SECONDS = 0.05


@pytest.fixture(params=["plain", "tls"])
def watched(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[WatchedRedis, str]]:
    """Run Sentinels with their servers, and yield them with the URL for HookHub."""
    if request.param == "plain":
        with WatchedRedis() as running:
            yield running, running.url()
        return
    # The one in the wheel knows no TLS.
    program = debian.require("redis-server", package="redis-server")
    authority = Identity.make(tmp_path / "ca.pem", "an authority")
    server = Identity.make(tmp_path / "server.pem", "redis", issuer=authority, address="127.0.0.1")
    files = {"--tls-cert-file": server.path, "--tls-key-file": server.path, "--tls-ca-cert-file": authority.path}
    options = [str(word) for pair in files.items() for word in pair]
    with WatchedRedis(program=program, tls=[*options, "--tls-auth-clients", "no"]) as running:
        yield running, running.url(query=f"?ssl_ca_certs={authority.path}")


@pytest.fixture
def instance(watched: tuple[WatchedRedis, str]) -> Iterator[Instance]:
    with (
        prepared_home("hookhub-test-", with_key=True) as home,
        Servers(home) as servers,
        closing(Instance(servers, logs=home, REDIS_URL=watched[1], WEB_WORKERS="1")) as running,
    ):
        running.start("web")
        running.start("worker")
        running.wait_until_ready()
        yield running


class Publishing:
    """Publishes all the time, by HTTP and by the stream, until it is stopped."""

    def __init__(self, instance: Instance, url: str) -> None:
        self.instance = instance
        self.published: set[str] = set()
        self.is_replicated = True
        self._client = Redis.from_pool(pool_for(url, timeout=timedelta(seconds=2)))
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=run) for run in (self._by_http, self._by_stream)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _by_http(self) -> None:
        number = 0
        while not self._stopped.wait(PAUSE_SECONDS):
            number += 1
            with suppress(HookHubError):
                self.instance.client.publish("push", {"by": "http"}, id=f"http-{number}")
                self.published.add(f"http-{number}")

    def _by_stream(self) -> None:
        """Repeat each event until a replica has it as well, because a master may lose what only it has."""
        publisher = StreamPublisher(self._client)
        number = 0
        while not self._stopped.wait(PAUSE_SECONDS):
            with suppress(HookHubError, RedisError):
                publisher.publish_batch(
                    [Event("push", {"by": "stream"}, id=f"stream-{number}", organization="acme", repository=None)]
                )
                if not self.is_replicated or self._client.wait(1, 1000):
                    self.published.add(f"stream-{number}")
                    number += 1


def is_consumed(watched: WatchedRedis) -> bool:
    """Return whether Celery waits for wake-ups in the master's queue."""
    with suppress(RedisError):
        return any(each["cmd"].lower() == "brpop" for each in watched.client().client_list())
    return False


def test_a_change_of_the_master_loses_nothing_and_the_worker_goes_on(
    instance: Instance, watched: tuple[WatchedRedis, str], receiver: Receiver
) -> None:
    redis, url = watched
    instance.client.webhooks.create(receiver.url("/all"), events=["push"], settings={"max_in_flight": 50})
    publishing = Publishing(instance, url)
    publishing.start()
    try:
        for change in [redis.fail_over, redis.kill_master] if redis.is_tls else [redis.kill_master]:
            before = len(publishing.published)
            wait_for(lambda before=before: len(publishing.published) > before + 50, "events")
            # Afterwards there is no replica.
            publishing.is_replicated = change == redis.fail_over
            change()
            wait_for(lambda: is_consumed(redis), "the worker to wait for wake-ups of the new master")
        before = len(publishing.published)
        wait_for(lambda: len(publishing.published) > before + 50, "events after it")
    finally:
        publishing.stop()
    wait_for(
        lambda: instance.ask("SELECT count(*) FROM hookhub_event") >= len(publishing.published), "the stream's events"
    )
    instance.wait_until_settled()

    arrived = [request.headers["webhook-id"] for request in receiver.received]
    assert len(arrived) == len(set(arrived))
    stored = instance.ask("SELECT array_agg(idempotency_key) FROM hookhub_event")
    assert publishing.published - set(stored) == set()
    assert len(arrived) == len(stored)
    for name in ("web", "worker"):
        instance.stop(name)
        assert "Traceback" not in (instance.logs / f"{name}.log").read_text()
    instance.check_ledger()
