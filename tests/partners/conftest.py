"""Fixtures of the partner tests: one receiver in Node for all of them."""

from collections.abc import Iterator

import pytest

from tests.partners import node
from tests.partners.node import Running

SECRET = "It's a Secret to Everybody"
WRONG = "It's a Secret to Nobody"


@pytest.fixture(scope="session")
def node_receiver() -> Iterator[Running]:
    """Run tests/partners/receiver.mjs."""
    with node.running("receiver.mjs", given={"secret": SECRET, "wrong": WRONG}) as running:
        yield running


@pytest.fixture
def partner(node_receiver: Running) -> "Running":
    """Return the receiver in Node, reset as if it had just started."""
    node_receiver.ask({"status": 200, "take": True})
    return node_receiver
