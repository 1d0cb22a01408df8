"""Subscriptions of a scenario: the process that makes them, and when the database shows that each has taken effect."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import requests

from chaos.history import Seen
from chaos.nemesis.background import in_background
from chaos.nemesis.context import RunContext
from chaos.scenarios.scenario import Scenario
from chaos.setup import REPOSITORY, configure, helper
from chaos.workload.events import GROUP, GROUPS
from chaos.workload.lives import KINDS
from chaos.workload.subscriber import Plan
from testbed.processes import Module

BEGIN_EVERY_SECONDS = 0.33
LOOK_EVERY_SECONDS = 0.1
READ = """
SELECT id, url, extract(epoch FROM verified_at)::float8, extract(epoch FROM expires_at)::float8,
       extract(epoch FROM deleted_at)::float8
FROM hookhub_webhook WHERE proof IS NOT NULL ORDER BY id
"""


# Fills in what only a subscription of MCP can have, whose callback would need TLS.
FILTER = f"""
CREATE FUNCTION chaos_filter() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.payload_filter = jsonb_build_object(
        '{GROUP}', substring(NEW.url FROM '[0-9]+$')::bigint / {len(KINDS)} % {GROUPS}
    );
    RETURN NEW;
END $$;
CREATE TRIGGER chaos_filter BEFORE INSERT ON hookhub_webhook
    FOR EACH ROW WHEN (NEW.url LIKE '%/native-filtered/%') EXECUTE FUNCTION chaos_filter();
"""


@dataclass
class Subscriptions:
    """The subscriptions of a running scenario; ``subscriber`` is None if it has none."""

    context: RunContext
    subscriber: Module | None = None
    seen: list[Seen] = field(default_factory=list)
    # By the id of the webhook: its path, which is masked once it is deleted, and the times seen last.
    paths: dict[int, str] = field(default_factory=dict)
    latest: dict[int, tuple[Any, ...]] = field(default_factory=dict)

    @contextmanager
    def being_made(self) -> Iterator[None]:
        """Let the subscriber make, renew and end subscriptions during the block; those that last go on after it."""
        if self.subscriber is None:
            yield
            return
        port = int(self.subscriber.read())
        configure(self.subscriber, {"is_over": False, "port": port})
        yield
        configure(self.subscriber, {"is_over": True})

    def all_seen(self) -> list[Seen]:
        """Look once more, and return each change that was seen, in order."""
        if self.subscriber is not None:
            with psycopg.connect(self.context.instance.database_url) as connection:
                self.look(connection)
        return self.seen

    def look(self, connection: "psycopg.Connection[Any]") -> None:
        """Note what has changed since the last look, at the time after the answer."""
        rows = connection.execute(READ).fetchall()
        at = time.time()
        for webhook, url, *times in rows:
            path = self.paths.setdefault(webhook, urlsplit(url).path)
            if self.latest.get(webhook) != tuple(times):
                self.latest[webhook] = tuple(times)
                self.seen.append(Seen(webhook, path, at, *times))

    def watch(self, is_over: threading.Event) -> None:
        """Look again and again until it is over."""
        while not is_over.is_set():
            try:
                with psycopg.connect(self.context.instance.database_url, autocommit=True, connect_timeout=5) as link:
                    while not is_over.wait(LOOK_EVERY_SECONDS):
                        self.look(link)
            except psycopg.Error:
                # A fault hit PostgreSQL.
                is_over.wait(LOOK_EVERY_SECONDS)


@contextmanager
def subscriptions(scenario: Scenario, context: RunContext, *, seed: int, folder: Path) -> Iterator[Subscriptions]:
    """Run the subscribers' process during the block if the scenario has subscriptions, and watch these."""
    if not scenario.subscribes:
        yield Subscriptions(context)
        return
    with psycopg.connect(context.instance.database_url) as connection:
        connection.execute(FILTER.encode())
    with helper(
        "chaos.workload.subscriber", plan(context, seed, folder), folder=folder, complaints=context.complaints
    ) as subscriber:
        made = Subscriptions(context, subscriber)
        with in_background(made.watch, name="subscriptions"):
            yield made


def plan(context: RunContext, seed: int, folder: Path) -> str:
    """Create a public repository, and return the plan for the subscribers' process as JSON."""
    instance = context.instance
    body = {"name": REPOSITORY, "private": False}
    headers = {"Authorization": f"Bearer {instance.key}"}
    requests.post(f"{instance.url}/v1/repositories", json=body, headers=headers, timeout=30).raise_for_status()
    owner = instance.ask("SELECT slug FROM hookhub_organization")
    made = Plan(
        url=instance.url,
        key=instance.key,
        topic=f"{instance.url}/{owner}/{REPOSITORY}/events/push",
        log=str(folder / "subscriptions"),
        seed=seed,
        every=BEGIN_EVERY_SECONDS,
    )
    return json.dumps(asdict(made))
