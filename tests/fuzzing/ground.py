"""A separate HookHub for fuzzing that contains rows of every kind."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import requests

from hookhub.embedded import service
from testbed.instance import WITHOUT_LIMITS, Instance
from testbed.processes import wait_for
from tests.acceptance.instances import running_instance
from tests.fuzzing import rows
from tests.receiver import Receiver

LIMITS = {**WITHOUT_LIMITS, "HOOKHUB_WEBHOOKS_PER_URL": "0", "HOOKHUB_EVENTS_PER_KEY": "0"}


@dataclass(frozen=True)
class Ground:
    """Its URL and key, and the variables that `schemathesis.toml` and the hooks read."""

    url: str
    key: str
    environment: dict[str, str]

    def is_whole(self) -> bool:
        """Return whether the key is still valid and the organization and the repository still exist."""
        return requests.get(f"{self.url}{rows.HOOKS}", headers={"Authorization": f"Bearer {self.key}"}, timeout=60).ok


@contextmanager
def running() -> Iterator[Ground]:
    """Run a web server on embedded servers in a temporary home.

    Deliveries are only made while the rows are created: generated URLs may lead anywhere.
    """
    with Receiver() as receiver, running_instance(asgi="tests.fuzzing.asgi", **LIMITS) as instance:
        create_key = partial(service.run, "create_api_key", environment=instance.environment)
        create_key("--organization", rows.SPARE, "--create-organization")
        operator_key = create_key("--operator", "--scope", "master").strip()
        made = rows.make(partial(_call, instance), receiver, deliver=partial(_wait_for_deliveries, instance))
        assert instance.stop("worker") == 0
        environment = rows.environment(made, key=instance.key, operator_key=operator_key)
        yield Ground(instance.url, instance.key, environment)


def _call(instance: Instance, method: str, path: str, body: object = None) -> Any:
    headers = {"Authorization": f"Bearer {instance.key}"}
    response = requests.request(method, instance.url + path, json=body, headers=headers, timeout=30)
    response.raise_for_status()
    return response.json()


def _wait_for_deliveries(instance: Instance) -> None:
    def are_over() -> bool:
        states = instance.states()
        return bool(states) and not {"pending", "sending"} & states.keys()

    wait_for(are_over, "the deliveries")
