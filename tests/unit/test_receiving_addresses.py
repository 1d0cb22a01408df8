"""The addresses that requests may come from, and the real client's address behind proxies."""

import pytest

from hookhub.receiving import is_from, sender_of

RANGES = ["192.0.2.0/24", "198.51.100.7", "2001:db8::/32", " 203.0.113.5/24 "]

ADDRESSES = {
    "inside a block": ("192.0.2.200", True),
    "the first of a block": ("192.0.2.0", True),
    "the last of a block": ("192.0.2.255", True),
    "one before": ("192.0.1.255", False),
    "one after": ("192.0.3.0", False),
    "a single address": ("198.51.100.7", True),
    "beside a single address": ("198.51.100.8", False),
    "a block written with host bits": ("203.0.113.1", True),
    "IPv6": ("2001:db8:1::1", True),
    "IPv6 outside": ("2001:db9::1", False),
    "IPv4 as an IPv6 socket shows it": ("::ffff:192.0.2.1", True),
    "blanks around": (" 192.0.2.1 ", True),
    "empty": ("", False),
    "a name": ("localhost", False),
    "with a port": ("192.0.2.1:443", False),
    "in brackets": ("[2001:db8::1]", False),
    "leading zeros": ("192.0.02.1", False),
    "a number": ("3221225985", False),
    "two of them": ("192.0.2.1, 192.0.2.2", False),
    "foreign digits": ("١٩٢.0.2.1", False),
    "NUL": ("192.0.2.1\0", False),
    "half a pair": ("\ud800", False),
    "very long": ("1" * 1_000_000, False),
}


@pytest.mark.parametrize(("address", "is_inside"), ADDRESSES.values(), ids=ADDRESSES)
def test_an_address_lies_within_the_published_ranges_or_not(address: str, *, is_inside: bool) -> None:
    assert is_from(address, RANGES) is is_inside


def test_no_ranges_contain_nothing() -> None:
    assert not is_from("192.0.2.1", [])


@pytest.mark.parametrize("wrong", ["", "everywhere", "192.0.2.0/33", "192.0.2.0-192.0.2.9"])
def test_a_range_that_is_none_is_the_callers_mistake(wrong: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        is_from("192.0.2.1", [wrong])


OURS = ["10.0.0.0/8"]
HOPS = {
    "nobody between": ("192.0.2.1", "", "192.0.2.1"),
    "a stranger who claims to be a proxy's client": ("192.0.2.1", "198.51.100.7", "192.0.2.1"),
    "one proxy": ("10.0.0.1", "192.0.2.1", "192.0.2.1"),
    "two proxies": ("10.0.0.1", "192.0.2.1, 10.0.0.2", "192.0.2.1"),
    "what the client itself wrote is not believed": ("10.0.0.1", "198.51.100.7, 192.0.2.1", "192.0.2.1"),
    "a proxy that told nothing": ("10.0.0.1", "", "10.0.0.1"),
    "nothing but proxies": ("10.0.0.1", "10.0.0.3,10.0.0.2", "10.0.0.3"),
    "nonsense": ("10.0.0.1", "unknown", "unknown"),
    "commas": ("10.0.0.1", ",, ,", "10.0.0.1"),
}


@pytest.mark.parametrize(("peer", "forwarded_for", "sender"), HOPS.values(), ids=HOPS)
def test_the_sender_is_the_last_address_that_no_proxy_of_ours_has(peer: str, forwarded_for: str, sender: str) -> None:
    assert sender_of(peer, forwarded_for, proxies=OURS) == sender
