"""Validation of a webhook's fields: valid and invalid values of every field."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_django import Settings

from deliveries.formats import FORMATS
from deliveries.sending import url
from deliveries.webhooks.fields import VALIDATORS, InvalidFields, validate

URL = "https://8.8.8.8/hook"
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
NAN, INF = float("nan"), float("inf")


def cleaned(name: str, value: object, **others: object) -> object:
    found = validate({name: value, **others}, current_format="standard-webhooks")
    if name == "rate_limit":
        return found["rate_requests"], found["rate_per"]
    return found["payload_filter" if name == "filter" else name]


def errors_of(fields: Mapping[str, object], current_format: str | None = "standard-webhooks") -> dict[str, str]:
    with pytest.raises(InvalidFields) as raised:
        validate(fields, current_format=current_format)
    return raised.value.errors


VALID: dict[str, list[tuple[object, object]]] = {
    "url": [(URL, URL), ("HTTP://8.8.8.8:80", "http://8.8.8.8/")],
    "events": [
        (["*"], ["*"]),
        (["push", "issues.opened"], ["push", "issues.opened"]),
        (("push",), ["push"]),
        (["push", "*", "push"], ["push", "*"]),
        ([f"a{n}" for n in range(200)], [f"a{n}" for n in range(200)]),
    ],
    "format": [(slug, slug) for slug in FORMATS],
    "content_type": [("json", "json")],
    "secret": [(WHSEC, WHSEC)],
    "headers": [
        ({}, {}),
        ({"X-Token": "abc"}, {"X-Token": "abc"}),
        ({"x!#$%&'*+.^_`|~-9": "!"}, {"x!#$%&'*+.^_`|~-9": "!"}),
        ({"A": "a b\tc"}, {"A": "a b\tc"}),
        ({"A": "x" * 2000, "N" * 100: "y"}, {"A": "x" * 2000, "N" * 100: "y"}),
        ({f"X-{n}": "v" for n in range(20)}, {f"X-{n}": "v" for n in range(20)}),
        ({"Authorization": "Bearer x", "Cookie": "a=b"}, {"Authorization": "Bearer x", "Cookie": "a=b"}),
    ],
    "verify_ssl": [(True, True), (False, False)],
    "auto_disable": [(True, True), (False, False)],
    "retry_schedule": [
        (None, None),
        ([], []),
        ([1, 1.5, 604800], [timedelta(seconds=1), timedelta(seconds=1.5), timedelta(days=7)]),
        ((60,), [timedelta(minutes=1)]),
        ([1] * 20, [timedelta(seconds=1)] * 20),
    ],
    "filter": [
        (None, None),
        ({"data": {"action": "opened"}}, {"$filter": {"data": {"action": "opened"}}}),
        ({"data": {"n": {"$gt": 1}}}, {"$filter": {"data": {"n": {"$gt": 1}}}}),
    ],
    "timeout": [(None, None), (1, timedelta(seconds=1)), (2.5, timedelta(seconds=2.5)), (30, timedelta(seconds=30))],
    "max_in_flight": [(None, None), (1, 1), (1000, 1000)],
    "rate_limit": [
        (None, (None, None)),
        ({"requests": 10, "per": 1}, (10, 1)),
        ({"per": 10, "requests": 1}, (1, 10)),
        ({"requests": 10_000, "per": 1}, (10_000, 1)),
        ({"requests": 360, "per": 3600}, (360, 3600)),
        ({"requests": 36_000_000, "per": 3600}, (36_000_000, 3600)),
    ],
    "name": [("", ""), ("ü 🎉", "ü 🎉"), ("x" * 200, "x" * 200)],
    "verify": [(None, None), ("challenge", "challenge")],
    "expires_at": [
        (None, None),
        ("2026-03-04T12:00:00Z", NOON),
        ("2026-03-04T13:00:00.5+01:00", NOON + timedelta(seconds=0.5)),
        ("2026-03-04t12:00:00z", NOON),
        (NOON, NOON),
    ],
}

WRONG_KINDS: list[object] = [1, 1.5, True, None, "x", b"x", [], ["x"], {}, {"a": "b"}, NAN, INF, 10**400, object()]


def kinds_but(*kinds: object) -> list[object]:
    """Return every wrong kind except these, distinguished by type, since True equals 1."""
    return [kind for kind in WRONG_KINDS if not any(type(kind) is type(one) and kind == one for one in kinds)]


INVALID: dict[str, list[object]] = {
    "url": [*WRONG_KINDS, "", "ftp://8.8.8.8/", "https://user:pw@8.8.8.8/", "https://8.8.8.8/\r\nX: y", "https://8.8.8.8:22/"],
    "events": [
        *kinds_but(["x"]), [None], [1], [True], [["push"]], [{}], [""], ["a b"], ["%_"], ["push", "*."], ["x" * 201],
        ["a\0"], ["\ud800"], ["push\n"], [f"a{n}" for n in range(201)], {"push"}, "push",
    ],
    "format": [*WRONG_KINDS, "", "Standard-Webhooks", "standard_webhooks"],
    "content_type": [*WRONG_KINDS, "", "JSON", "form"],
    "secret": [
        *WRONG_KINDS, "", "whsec_", "whsec_!!!!", "whsec_" + "A" * 4, "whsec_" + "A" * 88, WHSEC[6:], WHSEC + "\n",
        "whsec_ü", "whsec_\ud800", "WHSEC_" + WHSEC[6:],
    ],
    "headers": [
        *kinds_but({}, {"a": "b"}),
        *({name: "v"} for name in ("", " ", "a b", "a:", "a:b", "ü", "a\r\nX", "a\n", "a\0", "a;", "a,b", "(a)")),
        {"N" * 101: "v"},
        {1: "v"}, {None: "v"},
        *({"A": value} for value in ("", " ", " a", "a ", "\ta", "a\r\nX-Evil: 1", "a\nb", "a\rb", "a\n", "a\0")),
        *({"A": value} for value in ("ü", "\x7f", "\ud800", "x" * 2001, 1, None, True, ["a"], b"a")),
        *({name: "v"} for name in ("Host", "HOST", "Content-Length", "Transfer-Encoding", "Connection", "Upgrade")),
        *({name: "v"} for name in ("TE", "Trailer", "Expect", "Keep-Alive", "Proxy-Authorization", "proxy-x")),
        *({name: "v"} for name in ("Content-Type", "user-agent", "Webhook-Id", "WEBHOOK-SIGNATURE")),
        {"webhook-timestamp": "v"},
        {"A": "1", "a": "2"},
        {f"X-{n}": "v" for n in range(21)},
    ],
    "verify_ssl": [*kinds_but(True), 0, "true"],
    "auto_disable": [*kinds_but(True), 0, "true"],
    "retry_schedule": [
        *kinds_but(None, []), [True], [None], ["60"], [NAN], [INF], [-INF], [-1], [0], [0.999], [604800.1], [10**400],
        [[60]], [1] * 21,
    ],
    "filter": [*kinds_but(None, {}), {"payload": {}}, {"data": {"a": {"$near": 1}}}, {"data": []}],
    "timeout": [*kinds_but(None, 1, 1.5), -1, 0, 0.999, 30.001, "5"],
    "max_in_flight": [*kinds_but(None, 1), 0, -1, 1001, 1.0],
    "rate_limit": [*kinds_but(None, {}), "10/s", 10, [10, 1], {"requests": 1, "per": 1, "burst": 5}],
    "verify": [*kinds_but(None), "websub", "Challenge", ""],
    "expires_at": [
        *kinds_but(None), "", "2026-03-04", "2026-03-04T12:00:00", "2026-02-30T12:00:00Z", NOON.replace(tzinfo=None),
        "2026-03-04T12:00:00Z\0", "99999-01-01T00:00:00Z",
    ],
    "name": [*kinds_but("x"), "x" * 201, "a\0b", "\ud800", "a\udcffb"],
}  # fmt: skip


def test_the_tables_name_every_field() -> None:
    assert set(VALID) == set(INVALID) == set(VALIDATORS)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [(name, *pair) for name, pairs in VALID.items() for pair in pairs],
    ids=lambda x: str(x)[:40],
)
def test_a_valid_value_is_cleaned_to_its_stored_form(name: str, value: object, stored: object) -> None:
    assert cleaned(name, value) == stored


@pytest.mark.parametrize("name", INVALID)
def test_an_invalid_value_has_an_error_of_reasonable_length(name: str) -> None:
    for value in INVALID[name]:
        with pytest.raises(InvalidFields) as raised:
            validate({name: value}, current_format="standard-webhooks")

        [(field, sentence)] = raised.value.errors.items()
        assert field == name, repr(value)[:80]
        assert 5 < len(sentence) < 500, repr(value)[:80]
        sentence.encode()


@pytest.mark.parametrize("name", VALIDATORS)
def test_a_megabyte_of_rubbish_is_not_echoed(name: str) -> None:
    for rubbish in ("x" * 2**20, ["x" * 2**20], {"x" * 2**20: "x" * 2**20}):
        assert len(errors_of({name: rubbish})[name]) < 500


@pytest.mark.parametrize("seconds", [-1, 0, 31, 1e9, 10**400, INF, -INF])
def test_a_time_out_of_range_is_answered_with_the_range(seconds: float) -> None:
    assert errors_of({"timeout": seconds, "retry_schedule": [seconds, 604_801]}) == {
        "timeout": "must be a number of seconds from 1 to 30, or null for the default",
        "retry_schedule": "each delay must be from 1 to 604800 seconds",
    }


def test_a_secret_beyond_ascii_is_answered_with_the_form_of_a_secret() -> None:
    assert errors_of({"secret": "whsec_ü"}) == {"secret": "must be whsec_ followed by base64"}


REQUESTS, PER = "rate_limit.requests", "rate_limit.per"
NO_SECONDS = "must be a whole number of seconds from 1 to 3600"


def not_from(least: int, most: int) -> str:
    return f"must be a whole number from {least} to {most}, for 0.1 to 10000 a second"


# A limit, and the errors of its parts.
RATE_LIMITS: dict[str, tuple[dict[str, object], dict[str, str]]] = {
    "nothing": ({}, {REQUESTS: "is required", PER: "is required"}),
    "null": ({"requests": None, "per": 1}, {REQUESTS: "is required"}),
    "without a span": ({"requests": 1}, {PER: "is required"}),
    "none": ({"requests": 0, "per": 1}, {REQUESTS: not_from(1, 10_000)}),
    "too few": ({"requests": 1, "per": 11}, {REQUESTS: not_from(2, 110_000)}),
    "too many": ({"requests": 10_001, "per": 1}, {REQUESTS: not_from(1, 10_000)}),
    "true": ({"requests": True, "per": 1}, {REQUESTS: not_from(1, 10_000)}),
    "no time": ({"requests": 1, "per": 0}, {PER: NO_SECONDS}),
    "over a day": ({"requests": 9000, "per": 86_400}, {PER: NO_SECONDS}),
    "half a second": ({"requests": 1, "per": 0.5}, {PER: NO_SECONDS}),
    "texts": ({"requests": "1", "per": "1"}, {REQUESTS: not_from(1, 36_000_000), PER: NO_SECONDS}),
    "both wrong": ({"requests": -(10**400), "per": INF}, {REQUESTS: not_from(1, 36_000_000), PER: NO_SECONDS}),
}


@pytest.mark.parametrize(("limit", "errors"), RATE_LIMITS.values(), ids=RATE_LIMITS)
def test_an_invalid_part_of_a_rate_limit_is_named(limit: dict[str, object], errors: dict[str, str]) -> None:
    assert errors_of({"rate_limit": limit}) == errors


def test_a_field_that_does_not_exist_is_named_with_those_that_do() -> None:
    [(name, sentence)] = errors_of({"secrets": "x"}).items()

    assert name == "secrets"
    assert "is not a known field; known fields: url, events, " in sentence
    assert "secret, headers" in sentence


@pytest.mark.parametrize(
    "name", ["id", "sealed_secrets", "organization", "disabled_at", "failure_count", "__class__", ""]
)
def test_no_column_can_be_set_that_is_not_a_field(name: str) -> None:
    assert set(errors_of({name: "x"})) == {name}


def test_every_error_is_reported_at_once() -> None:
    assert set(errors_of({"url": "", "events": [], "timeout": -1, "what": 1, "name": "fine"})) == {
        "url", "events", "timeout", "what",
    }  # fmt: skip


def test_the_reserved_headers_are_those_of_the_new_format() -> None:
    assert cleaned("headers", {"Webhook-Id": "v"}, format="coregit") == {"Webhook-Id": "v"}
    assert set(errors_of({"headers": {"X-CoreGit-Signature": "v"}, "format": "coregit"})) == {"headers"}
    assert set(errors_of({"headers": {"X-CoreGit-Signature": "v"}}, current_format="coregit")) == {"headers"}


def test_a_secret_is_validated_for_the_new_format() -> None:
    assert cleaned("secret", "plain text", format="coregit") == "plain text"
    assert set(errors_of({"secret": "plain text", "format": "standard-webhooks"}, current_format="coregit")) == {
        "secret"
    }


@pytest.mark.parametrize("slug", [None, 1, ["coregit"], "no-such-format"])
def test_an_unknown_format_is_the_only_error_it_causes(slug: Any) -> None:
    fields = {"format": slug, "headers": {"A": "b"}, "secret": WHSEC, "content_type": "json"}

    assert set(errors_of(fields, current_format=None)) == {"format"}


def test_a_deadline_may_not_outlive_the_lease(settings: Settings) -> None:
    settings.HOOKHUB_MAX_TIMEOUT = timedelta(seconds=5)

    assert cleaned("timeout", 5) == timedelta(seconds=5)
    assert errors_of({"timeout": 6}) == {"timeout": "must be a number of seconds from 1 to 5, or null for the default"}


@pytest.mark.parametrize(
    ("address", "is_development", "word"),
    [
        ("http://127.0.0.1:8000/", False, "HOOKHUB_ALLOWED_NETWORKS"),
        ("http://127.0.0.1:9000/", True, None),
        ("http://169.254.169.254/", True, "HOOKHUB_ALLOWED_NETWORKS"),
        ("http://localhost:8000/", False, "Ask the operator"),
    ],
)
def test_the_guard_is_asked_about_a_new_url(
    settings: Settings, address: str, word: str | None, *, is_development: bool
) -> None:
    settings.HOOKHUB_DEVELOPMENT = is_development

    if word is None:
        assert cleaned("url", address) == address
    else:
        assert word in errors_of({"url": address})["url"]


def test_a_deployment_may_insist_on_https(settings: Settings) -> None:
    settings.HOOKHUB_HTTPS_ONLY = True

    assert cleaned("url", URL) == URL
    assert set(errors_of({"url": "http://8.8.8.8/"})) == {"url"}


def test_a_name_server_that_is_away_does_not_keep_a_webhook_from_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(host: str) -> list[str]:
        raise OSError("no route")

    monkeypatch.setattr(url, "resolve_quickly", away)

    assert cleaned("url", "https://receiver.example/") == "https://receiver.example/"
