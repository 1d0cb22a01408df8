"""A HookHub behind PgBouncer in transaction mode, which has fewer connections than HookHub has threads."""

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest

from hookhub.client import Event
from testbed import pgbouncer
from testbed.instance import Instance
from testbed.processes import wait_for
from testbed.servers import Servers
from tests import pgbouncer as programs
from tests.acceptance.instances import prepared_home
from tests.receiver import Answer, Receiver

pytestmark = pytest.mark.acceptance


QUICK = {"HOOKHUB_LEASE": "6", "HOOKHUB_TIMEOUT": "3"}


@pytest.fixture
def instance() -> Iterator[Instance]:
    with (
        prepared_home("hookhub-test-", with_key=True) as home,
        Servers(home) as servers,
        pgbouncer.running(servers.database_url, program=programs.program(), prepared=None) as through,
        # A short lease, so that what a killed worker had in flight is sent again soon.
        closing(Instance(servers, logs=home, DATABASE_URL=through, WEB_WORKERS="2", **QUICK)) as running,
    ):
        for name in ("web", "worker", "worker-2"):
            running.start(name)
        running.wait_until_ready()
        yield running


def test_everything_is_delivered_once_while_workers_die(instance: Instance, receiver: Receiver) -> None:
    client = instance.client
    client.webhooks.create(receiver.url("/all"), events=["*"], settings={"max_in_flight": 50})
    flaky = client.webhooks.create(receiver.url("/flaky"), events=["issues"], settings={"retry_schedule": [1, 1]})
    receiver.answers["/flaky"] = [Answer(503), Answer(200)]

    client.publish_batch(Event("push", {"number": number}) for number in range(1000))
    client.publish("issues.opened", {"n": 1}, id="once")
    instance.kill("worker")
    client.publish_batch(Event("push", {"number": number}) for number in range(1000, 1500))
    instance.start("worker")
    wait_for(lambda: instance.states() == {"delivered": 1502}, "every delivery", seconds=150)
    client.webhooks.delete(flaky["id"])
    instance.wait_until_settled()

    arrived = {request.headers["webhook-id"] for request in receiver.received if request.path == "/all"}
    assert len(arrived) == 1501
    assert instance.ask("SELECT count(*) FROM hookhub_leader WHERE work = 'maintenance'") == 1
    # Nothing that HookHub sets has stayed in the sessions, which other programs could get.
    [through] = [value for name, value in instance.environment.items() if name == "DATABASE_URL"]
    with psycopg.connect(through, autocommit=True, prepare_threshold=None) as other:
        assert other.execute("SHOW plan_cache_mode").fetchone() == ("auto",)
        assert other.execute("SHOW enable_seqscan").fetchone() == ("on",)
    for name in ("web", "worker", "worker-2"):
        instance.stop(name)
        assert "prepared statement" not in (instance.logs / f"{name}.log").read_text()
    instance.check_ledger()
