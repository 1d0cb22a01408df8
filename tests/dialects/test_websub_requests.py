"""What a subscriber may ask of the hub, parameter by parameter."""

from datetime import timedelta

import pytest

from hookhub.dialects.social_gateway.hub.requests import Mode
from hookhub.dialects.social_gateway.hub.websub_requests import Refused, granted, read

TOPIC = "https://hooks.example/acme/widgets/events/push.json"
FORM = {"hub.mode": "subscribe", "hub.topic": TOPIC, "hub.callback": "https://ci.example/cb?id=1"}
SECOND = timedelta(seconds=1)


def serves(host: str) -> bool:
    return host == "hooks.example"


def test_a_whole_request_is_read() -> None:
    more = {
        "hub.lease_seconds": "0600", "hub.secret": "s", "hub.signature_algorithm": "sha512", "hub.verify": "sync",
        "hub.verify_token": "t", "foo": "x", "hub.foo": "y",
    }  # fmt: skip

    asked = read({**FORM, **more}, serves=serves, prefix="/")

    assert (asked.mode, asked.topic_text, asked.callback) == (Mode.SUBSCRIBE, TOPIC, "https://ci.example/cb?id=1")
    assert (asked.topic.owner, asked.topic.repo, asked.topic.event) == ("acme", "widgets", "push")
    assert (asked.lease, asked.secret, asked.algorithm) == (600 * SECOND, "s", "sha512")
    assert asked.sent_back == {"hub.verify_token": "t"}


def test_only_three_parameters_are_needed() -> None:
    asked = read(FORM, serves=serves, prefix="/")

    assert (asked.lease, asked.secret, asked.algorithm, asked.sent_back) == (None, "", "sha256", {})


@pytest.mark.parametrize(
    "topic",
    [
        "https://hooks.example/hooks/acme/widgets/events/push",
        "https://hooks.example/acme/widgets/events/push",
        "https://HOOKS.example:443/hooks/acme/widgets/events/push",
    ],
)
def test_a_topic_may_have_the_prefix_of_the_deployment(topic: str) -> None:
    asked = read({**FORM, "hub.topic": topic}, serves=serves, prefix="/hooks/")

    assert (asked.topic.owner, asked.topic.repo, asked.topic.event) == ("acme", "widgets", "push")
    assert asked.topic_text == topic


def test_without_a_prefix_none_is_removed() -> None:
    with pytest.raises(Refused):
        read({**FORM, "hub.topic": "https://hooks.example/hooks/acme/widgets/events/push"}, serves=serves, prefix="/")


def test_every_invalid_parameter_is_named() -> None:
    with pytest.raises(Refused) as refused:
        read({"hub.mode": "x", "hub.lease_seconds": "-1", "hub.secret": "s" * 200}, serves=serves, prefix="/")

    assert refused.value.lines == [
        "hub.mode must be one of: subscribe, unsubscribe",
        "hub.topic is required",
        "hub.callback is required",
        "hub.lease_seconds must be a positive integer",
        "hub.secret must be less than 200 bytes",
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hub.topic", "https://hooks.example/acme/widgets/events/a b"),
        ("hub.topic", "https://hooks.example/acme/widgets/events/push?x=1"),
        ("hub.topic", "https://hooks.example/acme/widgets/events/größe"),
        ("hub.topic", "https://hooks.example/" + "a" * 1000 + "/widgets/events/push"),
        ("hub.topic", "https://other.example/acme/widgets/events/push"),
        ("hub.callback", "https://ci.example/cb?token=********"),
        ("hub.callback", "ci.example/cb"),
        ("hub.lease_seconds", "1e3"),
        ("hub.lease_seconds", "+5"),
        ("hub.lease_seconds", "000"),
        ("hub.signature_algorithm", "SHA256"),
        ("hub.verify_token", "x" * 201),
        ("hub.verify_token", "a\0b"),
    ],
)
def test_a_wrong_value_is_refused(name: str, value: str) -> None:
    with pytest.raises(Refused) as refused:
        read({**FORM, name: value}, serves=serves, prefix="/")

    [line] = refused.value.lines
    assert line.startswith(f"{name} ")


@pytest.mark.parametrize(
    ("asked", "lease"), [(None, 10), (1, 5), (5, 5), (7, 7), (20, 20), (21, 20), (999_999_999, 20)]
)
def test_the_lease_is_what_is_asked_for_within_bounds(asked: int | None, lease: int) -> None:
    wanted = None if asked is None else asked * SECOND
    assert granted(wanted, default=10 * SECOND, least=5 * SECOND, most=20 * SECOND) == lease * SECOND
