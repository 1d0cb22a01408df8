"""HOOKHUB_SOURCE_ADDRESSES: addresses and networks, as they are written."""

import pytest

from config.settings import addresses


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("203.0.113.7", ("203.0.113.7",)),
        (" 203.0.113.0/24 , 2001:db8::/48,", ("203.0.113.0/24", "2001:db8::/48")),
    ],
)
def test_they_are_taken_as_they_are(text: str, expected: tuple[str, ...]) -> None:
    assert addresses(text) == expected


@pytest.mark.parametrize("text", ["hooks.example.org", "203.0.113", "203.0.113.7/24", "203.0.113.7 203.0.113.8"])
def test_a_slip_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"does not appear to be|has host bits set"):
        addresses(text)
