"""What the hub reads from a form: topic, callback, secret, payload form, and the way of the request."""

import pytest

from hookhub.dialects.social_gateway.errors import ValidationFailed
from hookhub.dialects.social_gateway.hook_types import SERVICES, WEB
from hookhub.dialects.social_gateway.hub.requests import (
    Callback,
    HubRequest,
    Mode,
    Topic,
    Way,
    accepts_json,
    parse_callback,
    parse_topic,
    read,
    way_of,
)  # fmt: skip

FORM = {
    "hub.mode": "subscribe",
    "hub.topic": "http://socialgateway.net/octocat/Hello-World/events/push",
    "hub.callback": "http://postbin.org/123",
}
SERVED = {"socialgateway.net", "github.com", "127.0.0.1", "[::1]", "xn--mnchen-3ya.example"}


def serves(host: str) -> bool:
    return host in SERVED


def faults(fields: dict[str, str]) -> list[tuple[str, str]]:
    with pytest.raises(ValidationFailed) as refused:
        read(fields, accept="*/*", serves=serves)
    return [(row["field"], row["code"]) for row in refused.value.errors]


def test_a_form_is_read_whole() -> None:
    asked = read({**FORM, "hub.secret": "s", "foo": "1", "hub.foo": "2"}, accept="*/*", serves=serves)

    assert asked == HubRequest(
        Mode.SUBSCRIBE,
        Topic("octocat", "Hello-World", "push", wants_json=False),
        Callback(WEB, {"url": "http://postbin.org/123"}, "http://postbin.org/123"),
        "form",
        "s",
    )


@pytest.mark.parametrize(
    ("uri", "topic"),
    [
        pytest.param("http://github.com/o/r/events/push", ("o", "r", "push", False), id="http"),
        pytest.param("https://github.com/o/r/events/push", ("o", "r", "push", False), id="https"),
        pytest.param("HTTPS://GitHub.COM./o/R/events/push", ("o", "R", "push", False), id="a host in any case"),
        pytest.param("https://github.com:8443/o/r/events/push", ("o", "r", "push", False), id="any port"),
        pytest.param("http://[::1]:8000/o/r/events/push", ("o", "r", "push", False), id="an IPv6 address"),
        pytest.param("http://münchen.example/o/r/events/push", ("o", "r", "push", False), id="an international name"),
        pytest.param("https://github.com/o/r/events/push.json", ("o", "r", "push", True), id="json"),
        pytest.param("https://github.com/o/r/events/push%2Ejson", ("o", "r", "push", True), id="json, encoded"),
        pytest.param("https://github.com/o/r/events/a.json.json", ("o", "r", "a.json", True), id="json twice"),
        pytest.param("https://github.com/o/r/events/*", ("o", "r", "*", False), id="every event"),
        pytest.param("https://github.com/o/r/events/%2A", ("o", "r", "*", False), id="every event, as PyGithub"),
        pytest.param("https://github.com/o%2Fp/r/events/x", ("o/p", "r", "x", False), id="an encoded slash"),
        pytest.param("https://github.com/o/r/events/é", ("o", "r", "é", False), id="a letter"),
        pytest.param("https://github.com/../r/events/x", ("..", "r", "x", False), id="dots are a name"),
    ],
)
def test_a_topic_is_recognized_by_its_path(uri: str, topic: tuple[str, str, str, bool]) -> None:
    assert parse_topic(uri, serves=serves) == Topic(*topic)


@pytest.mark.parametrize(
    "uri",
    [
        "", "push", "ftp://github.com/o/r/events/push", "//github.com/o/r/events/push", "github.com/o/r/events/push",
        "https:///o/r/events/push", "https://github.com", "https://github.com/o/r", "https://github.com/o/r/events",
        "https://github.com/o/r/events/", "https://github.com/o/r/events/push/", "https://github.com//r/events/push",
        "https://github.com/o/r/Events/push", "https://github.com/x/o/r/events/push",
        "https://github.com/o/r/events/push?a=1", "https://github.com/o/r/events/push?",
        "https://github.com/o/r/events/push#a", "https://github.com/o/r/events/push#",
        "https://user:pass@github.com/o/r/events/push", "https://github.com\\@evil.example/o/r/events/push",
        "https://github.com/o/r/events/pu sh", "https://github.com/o/r/events/push\n", "https://github.com/o/r/events/\0",
        "https://github.com/o%00/r/events/push", "https://github.com/o/r%0A/events/push",
        "https://github.com/o/r/events/%FF", "https://github.com/o/r/events/%ED%A0%80",
        "https://github.com:0/o/r/events/push", "https://github.com:x/o/r/events/push",
        "https://github.com/o/r/events/" + "x" * 3000,
    ],
)  # fmt: skip
def test_what_is_no_topic_is_refused(uri: str) -> None:
    with pytest.raises(ValueError, match="must have the form https://HOST/:owner/:repo/events/:event"):
        parse_topic(uri, serves=serves)


@pytest.mark.parametrize("host", ["evil.example", "github.com.evil.example", "evilgithub.com", "127.0.0.2", "[::2]"])
def test_a_topic_at_an_unknown_host_is_refused(host: str) -> None:
    with pytest.raises(ValueError, match=r"has the unknown host .*HOOKHUB_TOPIC_HOSTS"):
        parse_topic(f"https://{host}/o/r/events/push", serves=serves)


@pytest.mark.parametrize(
    ("uri", "callback"),
    [
        ("http://postbin.org/123", Callback(WEB, {"url": "http://postbin.org/123"}, "http://postbin.org/123")),
        (
            "HTTPS://u:p@Example.com:443?a=1",
            Callback(WEB, {"url": "HTTPS://u:p@Example.com:443?a=1"}, "https://example.com/?a=1"),
        ),
        (
            "socialgateway://campfire?subdomain=socialgateway&room=Commits&token=abc123",
            Callback(SERVICES["campfire"], {"subdomain": "socialgateway", "room": "Commits", "token": "abc123"}),
        ),
        (
            "SocialGateway://Slack/?url=https%3A%2F%2Fhooks.slack.com%2Fa&url=https%3A%2F%2Fhooks.slack.com%2Fb",
            Callback(SERVICES["slack"], {"url": "https://hooks.slack.com/b"}),
        ),
        ("socialgateway://discord", Callback(SERVICES["discord"], {})),
    ],
)
def test_a_callback_is_a_url_or_a_service(uri: str, callback: Callback) -> None:
    assert parse_callback(uri) == callback


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("ftp://example.com/", "must begin with http://, https:// or socialgateway://"),
        ("javascript:alert(1)", "must begin with http://, https:// or socialgateway://"),
        ("campfire", "must begin with http://, https:// or socialgateway://"),
        ("http://", "The URL has no host; write it as https://host/path."),
        ("http://example.com/#a", "The URL has a fragment"),
        ("http://example.com/a b", "The URL contains a space"),
        ("http://example.com/\0", "The URL contains a space, a control character"),
        ("http://a:b@c:d@example.com/", "The URL contains a user name or password"),
        ("http://example.com/" + "x" * 3000, "The URL is longer than 2,048 characters"),
        ("http://example.com/?token=********", "is masked; send the full URL"),
        ("socialgateway:campfire", "must have the form socialgateway://"),
        ("socialgateway://campfire#a", "must have the form socialgateway://"),
        ("socialgateway://campfire/x?room=1", "must have the form socialgateway://"),
        ("socialgateway://lighthouse?token=1", "has an unknown service; it must be one of: slack, discord, campfire"),
        ("socialgateway://web?url=http://example.com/", "has an unknown service"),
        ("socialgateway://user@campfire?room=1", "has an unknown service"),
        ("socialgateway://?room=1", "has an unknown service"),
        ("socialgateway://campfire?room=%FF", "must have at most 20 settings, in UTF-8"),
        ("socialgateway://campfire?" + "a=1&" * 30, "must have at most 20 settings, in UTF-8"),
    ],
)
def test_what_is_no_callback_is_refused(uri: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011 - its message is compared below
        parse_callback(uri)

    assert message in str(refused.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"hub.mode": ""}, [("hub.mode", "missing_field")]),
        ({"hub.mode": "publish"}, [("hub.mode", "invalid")]),
        ({"hub.mode": "Subscribe"}, [("hub.mode", "invalid")]),
        ({"hub.topic": ""}, [("hub.topic", "missing_field")]),
        ({"hub.topic": "push"}, [("hub.topic", "invalid")]),
        ({"hub.callback": ""}, [("hub.callback", "missing_field")]),
        ({"hub.callback": "x"}, [("hub.callback", "invalid")]),
        ({"hub.mode": "x", "hub.topic": "x", "hub.callback": ""},
         [("hub.callback", "missing_field"), ("hub.mode", "invalid"), ("hub.topic", "invalid")]),
        ({"hub.secret": "x" * 200}, [("hub.secret", "invalid")]),
        ({"hub.secret": "é" * 100}, [("hub.secret", "invalid")]),
        ({"hub.callback": "socialgateway://slack?url=x", "hub.secret": "s"}, [("hub.secret", "invalid")]),
    ],
)  # fmt: skip
def test_every_field_that_is_missing_or_invalid_is_named(
    changes: dict[str, str], expected: list[tuple[str, str]]
) -> None:
    assert faults({**FORM, **changes}) == expected


def test_a_form_with_nothing_in_it_lacks_the_three_required_fields() -> None:
    assert faults({}) == [(f"hub.{name}", "missing_field") for name in ("mode", "topic", "callback")]


def test_a_secret_may_have_fewer_than_200_bytes() -> None:
    assert read({**FORM, "hub.secret": "é" * 99 + "x"}, accept="", serves=serves).secret == "é" * 99 + "x"


@pytest.mark.parametrize(
    ("accept", "is_json"),
    [
        ("", False), ("*/*", False), ("application/*", False), ("text/html, */*;q=0.8", False),
        ("application/vnd.github.v3+json", False), ("application/jsonp", False),
        ("application/json", True), ("Application/JSON; charset=utf-8", True),
        ("application/json, text/plain, */*", True), ("text/html, application/json;q=0.1", True),
        ("application/json;q=0", False), ("application/json; q=0.000, */*", False), (",;", False),
    ],
)  # fmt: skip
def test_raw_json_is_sent_where_the_accept_header_names_it(accept: str, is_json: bool) -> None:
    assert accepts_json(accept) is is_json
    assert read(FORM, accept=accept, serves=serves).content_type == ("json" if is_json else "form")


@pytest.mark.parametrize(
    ("fields", "may_manage", "way"),
    [
        pytest.param({}, True, Way.GITHUB, id="who may manage"),
        pytest.param({}, False, Way.WEBSUB, id="anonymous"),
        pytest.param({"hub.lease_seconds": ""}, True, Way.WEBSUB, id="a lease is asked for"),
        pytest.param({"hub.verify": "sync"}, True, Way.WEBSUB, id="a verification is asked for"),
        pytest.param({"hub.verify_token": "x"}, True, Way.GITHUB, id="another field"),
    ],
)
def test_which_way_a_request_goes(fields: dict[str, str], may_manage: bool, way: Way) -> None:
    assert way_of({**FORM, **fields}, may_manage=may_manage) is way
