"""What any test may ask for: a receiver, a forge with a repository, and a moment to start from."""

from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from deliveries.sender import Sender, make_sender
from tests.receiver import Receiver
from tests.story import Forge


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture
def now() -> datetime:
    """Noon on a day like any other."""
    return datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


@pytest.fixture
def sender() -> Iterator[Sender]:
    made = make_sender(slots=64)
    yield made
    made.close()


@pytest.fixture
def forge(db: None, receiver: Receiver) -> Forge:
    """An organization with a repository, ready to have webhooks and events."""
    return Forge.make(receiver)
