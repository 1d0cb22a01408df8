"""The source addresses that the operator configures are those that receivers can check."""

import os
import subprocess
import sys

import pytest
from django.test import Client
from pytest_django import Settings

from hookhub.receiving import is_from


def test_a_receiver_checks_with_what_meta_publishes(settings: Settings, client: Client) -> None:
    settings.HOOKHUB_SOURCE_ADDRESSES = ("192.0.2.0/24", "2001:db8::7")

    published = client.get("/v1/meta").json()["source_addresses"]

    assert [is_from(address, published) for address in ("192.0.2.9", "2001:db8::7", "198.51.100.1")] == [
        True, True, False,
    ]  # fmt: skip


SETTINGS = {
    "none": ("", "()"),
    "addresses and networks": ("192.0.2.7, 2001:db8::/32", "('192.0.2.7', '2001:db8::/32')"),
    "nonsense": ("the office", None),
    "host bits": ("192.0.2.7/24", None),
}


@pytest.mark.parametrize(("text", "read"), SETTINGS.values(), ids=SETTINGS)
def test_addresses_that_no_receiver_could_read_do_not_start(text: str, read: str | None) -> None:
    program = "from hookhub.service import settings; print(settings.HOOKHUB_SOURCE_ADDRESSES)"
    environment = {**os.environ, "HOOKHUB_SOURCE_ADDRESSES": text}

    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=False)

    if read is None:
        assert done.returncode != 0
        assert "HOOKHUB_SOURCE_ADDRESSES" in done.stderr
    else:
        assert done.stdout.strip() == read
