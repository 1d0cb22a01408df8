"""What the benches publish: events of a given size, to repositories and webhooks made through the API."""

import json
from collections.abc import Iterator
from itertools import islice

import requests

from bench.stage import Stage, Tell
from hookhub.client import Client, Event

REPOSITORIES = 50
# Of ten webhooks that an event reaches, so many belong to its repository and the others to the organization.
NEAR = 3
# Between two words about progress.
TOLD_EVERY = 5000


def payload(size: int) -> dict[str, object]:
    """Give what a forge would send, about ``size`` bytes of JSON."""
    commits = [{"id": f"{n:040x}", "message": f"Change number {n}", "author": {"name": "Mona"}} for n in range(200)]
    event: dict[str, object] = {"t": 0, "ref": "refs/heads/main", "commits": commits, "filling": ""}
    while len(json.dumps(event)) > size and commits:
        commits.pop()
    event["filling"] = "x" * (size - len(json.dumps(event)))
    return event


def make_repository(bench: Stage, name: str) -> None:
    """Make a repository in the bench's organization."""
    headers = {"Authorization": f"Bearer {bench.key}"}
    requests.post(f"{bench.url}/v1/repositories", json={"name": name}, headers=headers, timeout=30).raise_for_status()


def make_webhooks(bench: Stage, client: Client, url: str, *, fan_out: int) -> None:
    """Make 50 repositories and 200 webhooks, so that each event of ``events`` reaches ``fan_out`` (1 or 10) of them."""
    for number in range(REPOSITORIES):
        name = f"repository-{number}"
        make_repository(bench, name)
        if fan_out == 1:
            for topic in range(4):
                client.webhooks.create(url, events=[f"push.{topic}"], repository=name)
            continue
        for _ in range(NEAR):
            client.webhooks.create(url, events=["push"], repository=name)
        # Organization-wide ones that listen to seven repositories each, told apart by the event's type.
        heard = [f"push.{(number + step) % REPOSITORIES}" for step in range(fan_out - NEAR)]
        client.webhooks.create(url, events=heard)


def events(count: int, *, size: int, fan_out: int) -> Iterator[Event]:
    """Give that many events, going round the repositories."""
    data = payload(size)
    for number in range(count):
        repository = number % REPOSITORIES
        topic = number // REPOSITORIES % 4 if fan_out == 1 else repository
        yield Event(f"push.{topic}", data, repository=f"repository-{repository}")


def publish(client: Client, wanted: Iterator[Event], tell: Tell) -> int:
    """Publish events and say how far it is; give how many that was."""
    done = 0
    while part := list(islice(wanted, TOLD_EVERY)):
        client.publish_batch(part)
        done += len(part)
        tell(f"  {done:,} events accepted")
    return done
