"""The header that counts how often an event passed through HookHub, and the detection of URLs that lead back to it."""

import pytest

from deliveries.policy import hops
from deliveries.sending.own_hosts import OwnHosts

OURS, THEIRS = "0123456789ab", "ffffffffffff"


@pytest.mark.parametrize(
    ("came", "sent"),
    [
        (None, f"{OURS}=1"),
        (f"{OURS}=1", f"{OURS}=2"),
        (f"{THEIRS}=3", f"{THEIRS}=3, {OURS}=1"),
        (f"{OURS}=1, {THEIRS}=3,{OURS}=1", f"{OURS}=3, {THEIRS}=3"),
    ],
    ids=["an event of its own", "one of ours", "one of another deployment", "a header that was copied twice"],
)
def test_a_delivery_counts_this_deployment_once_more(came: str | None, sent: str) -> None:
    assert hops.add_hop(came, deployment=OURS) == sent


@pytest.mark.parametrize("text", [None, f"{OURS}=3", f"{THEIRS}=99", f"{OURS}=2, {THEIRS}=1"])
def test_an_event_with_the_maximum_of_hops_is_accepted(text: str | None) -> None:
    assert hops.validate(text, deployment=OURS, limit=3) == text


@pytest.mark.parametrize(
    "text", [f"{OURS}=4", f"{OURS}=2,{OURS}=2", ",".join(f"{number:012x}=1" for number in range(1, 18))]
)
def test_an_event_with_one_hop_more_is_refused(text: str) -> None:
    with pytest.raises(hops.TooManyHops):
        hops.validate(text, deployment=OURS, limit=3)


@pytest.mark.parametrize("text", ["", "1", f"{OURS}=0", f"{OURS}=-1", f"{OURS}=1;", f"{OURS}=10000", "x" * 100_000])
def test_a_malformed_header_is_refused_instead_of_ignored(text: str) -> None:
    with pytest.raises(hops.InvalidHops, match="is malformed"):
        hops.validate(text, deployment=OURS, limit=3)


OWN = OwnHosts(
    frozenset({"hooks.example.org", ".example.net", "192.0.2.7"}),
    frozenset({80, 443, 8000}),
    frozenset({"may.example.net"}),
)


@pytest.mark.parametrize(
    ("url", "is_refused"),
    [
        ("https://hooks.example.org/v1/events", True),
        ("http://hooks.example.org:8000/", True),
        ("https://hooks.example.org:8443/", False),
        ("https://www.hooks.example.org/", False),
        ("https://example.net/", True),
        ("https://deep.below.example.net/", True),
        ("https://notexample.net/", False),
        ("https://may.example.net/", False),
        ("http://192.0.2.7/", True),
        ("http://127.0.0.1:8000/", True),
        ("http://localhost:8000/", True),
        ("http://[::1]:8000/", True),
        ("http://[::ffff:127.0.0.1]:8000/", True),
        ("http://[::ffff:192.0.2.7]/", True),
        ("http://[0:0:0:0:0:ffff:c000:0207]/", True),
        ("http://[::ffff:192.0.2.8]/", False),
        ("http://127.0.0.1:9999/", False),
    ],
)
def test_a_url_that_leads_back_is_known_by_host_and_port(url: str, is_refused: bool) -> None:
    assert (OWN.reason_against(url) is not None) == is_refused
