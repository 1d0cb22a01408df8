"""The load of the benchmarks: events of a given size, for repositories and webhooks created through the API."""

import itertools
import json
from collections.abc import Iterator

import requests

from hookhub.client import Event
from testbed.instance import Instance
from testbed.processes import Log

# Each has its own event type, so that the limit of requests in flight to a webhook is not what is measured.
ENDPOINTS = 100
REPOSITORIES = 50
# Of ten webhooks that an event reaches, this many belong to its repository and the others to the organization.
NEAR = 3
# Events between two progress messages.
LOG_EVERY = 5000


def payload(size: int) -> dict[str, object]:
    """Return a payload similar to a forge's, about ``size`` bytes of JSON."""
    commits = [{"id": f"{n:040x}", "message": f"Change number {n}", "author": {"name": "Mona"}} for n in range(200)]
    event: dict[str, object] = {"t": 0, "ref": "refs/heads/main", "commits": commits, "filling": ""}
    while len(json.dumps(event)) > size and commits:
        commits.pop()
    event["filling"] = "x" * (size - len(json.dumps(event)))
    return event


def make_repository(instance: Instance, name: str) -> None:
    """Create a repository in the benchmark's organization."""
    headers = {"Authorization": f"Bearer {instance.key}"}
    requests.post(
        f"{instance.url}/v1/repositories", json={"name": name}, headers=headers, timeout=30
    ).raise_for_status()


def make_endpoints(instance: Instance, url: str) -> None:
    """Create ``ENDPOINTS`` webhooks, one for each event type of bench/publisher.py; their URLs begin with ``url``."""
    for number in range(ENDPOINTS):
        instance.client.webhooks.create(f"{url}/{number}", events=[f"push.{number:02d}"])


def make_webhooks(instance: Instance, url: str, *, fan_out: int) -> None:
    """Create 50 repositories and 200 webhooks, such that each of ``events`` reaches ``fan_out`` (1 or 10) of them.

    Their URLs begin with ``url``.
    """
    urls = (f"{url}/{number}" for number in itertools.count())
    for number in range(REPOSITORIES):
        name = f"repository-{number}"
        make_repository(instance, name)
        if fan_out == 1:
            for topic in range(4):
                instance.client.webhooks.create(next(urls), events=[f"push.{topic}"], repository=name)
            continue
        for _ in range(NEAR):
            instance.client.webhooks.create(next(urls), events=["push"], repository=name)
        # Organization-wide webhooks that subscribe to the event types of seven repositories each.
        heard = [f"push.{(number + step) % REPOSITORIES}" for step in range(fan_out - NEAR)]
        instance.client.webhooks.create(next(urls), events=heard)


def events(count: int, *, size: int, fan_out: int) -> Iterator[Event]:
    """Yield ``count`` events, round-robin over the repositories."""
    data = payload(size)
    for number in range(count):
        repository = number % REPOSITORIES
        topic = number // REPOSITORIES % 4 if fan_out == 1 else repository
        yield Event(f"push.{topic}", data, repository=f"repository-{repository}")


def publish(instance: Instance, events: Iterator[Event], log: Log) -> int:
    """Publish events and print progress; return their number."""
    done = 0
    while part := list(itertools.islice(events, LOG_EVERY)):
        instance.client.publish_batch(part)
        done += len(part)
        log(f"  {done:,} events accepted")
    return done
