"""The client's address: a forwarded address counts only as far as trusted proxies wrote it."""

from ipaddress import ip_network

import pytest

from hookhub.http.client_address import client_address, subject_of

PROXIES = (ip_network("10.0.0.0/8"), ip_network("::1/128"))


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("192.0.2.1", "", "192.0.2.1"),
        ("192.0.2.1", "198.51.100.9", "192.0.2.1"),
        ("10.0.0.1", "198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9, 10.0.0.2", "198.51.100.9"),
        ("10.0.0.1", "10.0.0.3, 10.0.0.2", "10.0.0.3"),
        ("10.0.0.1", "198.51.100.9:4711", "198.51.100.9"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::1", "::ffff:198.51.100.9", "198.51.100.9"),
        ("10.0.0.1", "198.51.100.9, nonsense", "10.0.0.1"),
        ("10.0.0.1", "198.51.100.9, ", "10.0.0.1"),
        ("", "198.51.100.9", "198.51.100.9"),
    ],
)
def test_a_forwarded_address_is_believed_of_trusted_proxies_alone(peer: str, forwarded: str, expected: str) -> None:
    assert client_address(peer, forwarded, trusted=PROXIES) == expected
    assert client_address(peer, forwarded, trusted=()) == peer


def test_addresses_of_one_household_are_counted_together() -> None:
    assert subject_of("2001:db8:1:2::3") == subject_of("2001:db8:1:2:ffff::") == "2001:db8:1:2::/64"
    assert (subject_of("192.0.2.1"), subject_of("::ffff:192.0.2.1"), subject_of("")) == ("192.0.2.1", "192.0.2.1", "")
