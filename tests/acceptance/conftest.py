"""Fixtures of the tests with a browser."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests import chromium
from tests.receiver import Receiver
from tests.story import Forge


@pytest.fixture(scope="module")
def chrome() -> Iterator[Browser]:
    with chromium.browser() as started:
        yield started


@pytest.fixture
def committed_forge(transactional_db: None, receiver: Receiver) -> Forge:
    """Return the usual forge, but committed, because the server is another thread with its own connection."""
    return Forge.make(receiver)
