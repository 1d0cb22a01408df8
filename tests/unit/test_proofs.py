"""Proofs: the exact bytes of their requests, and which responses they accept."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta

import pytest

from deliveries.proofs import MAX_BODY, PROOFS, Asked, Question, Refused, Reply, make_challenge
from deliveries.version import USER_AGENT

CHALLENGE = "n7Zq3cQw0y1vD5Ff9J2hXk8sLr4TgB6mEaUoIpWzYdM"
ASKED = Asked(CHALLENGE, {})
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)


def question(**more: object) -> Question:
    fields: dict[str, object] = {
        "id": "019cb8b8-1e00-753a-a23d-b63dc6d7ef09", "mode": "subscribe", "url": "https://receiver.example/hook?a=1&b",
        "challenge": CHALLENGE, "details": {}, "lasts": None, "secrets": (SECRET,), "sent_at": NOON, **more,
    }  # fmt: skip
    return Question(**fields)  # type: ignore[arg-type]  # a table of fields


def test_a_challenge_is_a_signed_post() -> None:
    ask = PROOFS["challenge"].build(question())

    body = b'{"type":"webhook.verification","challenge":"%s"}' % CHALLENGE.encode()
    signed = b"019cb8b8-1e00-753a-a23d-b63dc6d7ef09.1772625600." + body
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert ask == (
        "POST",
        "https://receiver.example/hook?a=1&b",
        (
            ("Content-Type", "application/json"),
            ("User-Agent", USER_AGENT),
            ("webhook-id", "019cb8b8-1e00-753a-a23d-b63dc6d7ef09"),
            ("webhook-timestamp", "1772625600"),
            ("webhook-signature", f"v1,{signature}"),
        ),
        body,
    )


@pytest.mark.parametrize(
    ("secret", "key"),
    [("plain secret", b"plain secret"), ("whsec_not base64!", b"whsec_not base64!"), ("whsec_YWJj", b"abc")],
)
def test_a_secret_of_any_format_signs(secret: str, key: bytes) -> None:
    ask = PROOFS["challenge"].build(question(secrets=(secret,)))

    signed = b"019cb8b8-1e00-753a-a23d-b63dc6d7ef09.1772625600." + ask.body
    expected = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    assert dict(ask.headers)["webhook-signature"] == expected


def test_without_a_secret_there_is_no_signature() -> None:
    assert "webhook-signature" not in dict(PROOFS["challenge"].build(question(secrets=())).headers)


@pytest.mark.parametrize(
    ("more", "url"),
    [
        (
            {"lasts": timedelta(days=10)},
            (
                "https://receiver.example/hook?a=1&b&hub.mode=subscribe&hub.topic=https%3A%2F%2Fhub.example%2Ft"
                f"&hub.challenge={CHALLENGE}&hub.lease_seconds=864000"
            ),
        ),
        (
            {"mode": "unsubscribe", "url": "https://receiver.example/"},
            (
                "https://receiver.example/?hub.mode=unsubscribe&hub.topic=https%3A%2F%2Fhub.example%2Ft"
                f"&hub.challenge={CHALLENGE}"
            ),
        ),
    ],
    ids=["subscribe", "unsubscribe"],
)
def test_websub_appends_its_parameters_to_the_query(more: dict[str, object], url: str) -> None:
    ask = PROOFS["websub"].build(question(details={"hub.topic": "https://hub.example/t"}, **more))

    assert ask == ("GET", url, (("User-Agent", USER_AGENT), ("Accept", "*/*")), b"")


def test_the_verification_of_mcp_events_is_a_signed_post_that_names_the_subscription() -> None:
    older = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"

    ask = PROOFS["mcp"].build(question(details={"subscription": "sub_2f7c"}, secrets=(SECRET, older)))

    headers = dict(ask.headers)
    assert (ask.method, ask.url) == ("POST", "https://receiver.example/hook?a=1&b")
    assert ask.body == b'{"type":"verification","challenge":"%s"}' % CHALLENGE.encode()
    assert headers["webhook-id"] == "msg_verification_019cb8b8-1e00-753a-a23d-b63dc6d7ef09"
    assert headers["X-MCP-Subscription-Id"] == "sub_2f7c"
    assert headers["Content-Type"] == "application/json"
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.".encode() + ask.body
    keys = [base64.b64decode(secret.removeprefix("whsec_")) for secret in (SECRET, older)]
    expected = [base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode() for key in keys]
    assert headers["webhook-signature"] == " ".join(f"v1,{one}" for one in expected)


OTHER = "x" + CHALLENGE[1:]
ECHOES = {
    "exact": (200, CHALLENGE.encode(), {"challenge", "websub"}),
    "201": (201, CHALLENGE.encode(), {"challenge", "websub"}),
    "with a line break": (200, CHALLENGE.encode() + b"\r\n", {"challenge"}),
    "JSON": (200, json.dumps({"challenge": CHALLENGE, "more": 1}).encode(), {"challenge", "mcp"}),
    "another": (200, OTHER.encode(), set()),
    "another in JSON": (200, json.dumps({"challenge": OTHER}).encode(), set()),
    "JSON of another type": (200, json.dumps({"challenge": [CHALLENGE]}).encode(), set()),
    "JSON string": (200, json.dumps(CHALLENGE).encode(), set()),
    "deep JSON": (200, b"[" * 1000, set()),
    "prefix": (200, CHALLENGE[:-1].encode(), set()),
    "with more around it": (200, b"challenge=" + CHALLENGE.encode(), set()),
    "empty": (200, b"", set()),
    "not UTF-8": (200, b"\xff\xfe", set()),
    "other letters": (200, "ü".encode() * 20, set()),
    "redirect": (302, CHALLENGE.encode(), set()),
    "not found": (404, CHALLENGE.encode(), set()),
    "error": (500, CHALLENGE.encode(), set()),
    "too long": (200, CHALLENGE.encode() + b" " * MAX_BODY, set()),
}


@pytest.mark.parametrize("slug", sorted(PROOFS))
@pytest.mark.parametrize(("status", "body", "accepted_by"), ECHOES.values(), ids=ECHOES)
def test_only_an_echo_with_a_2xx_is_a_proof(slug: str, status: int, body: bytes, accepted_by: set[str]) -> None:
    refused = PROOFS[slug].refusal(Reply(status, (), body), ASKED)

    assert (refused is None) == (slug in accepted_by)
    assert refused is None or (refused.reason and not refused.is_final)


@pytest.mark.parametrize("slug", sorted(PROOFS))
def test_a_receiver_that_is_gone_is_not_asked_again(slug: str) -> None:
    assert PROOFS[slug].refusal(Reply(410, (), b""), ASKED) == Refused("The receiver answered 410.", is_final=True)


def test_challenges_differ_and_survive_a_query_string() -> None:
    challenges = {make_challenge() for _ in range(100)}

    assert len(challenges) == 100
    assert all(len(one) >= 43 and one.replace("-", "").replace("_", "").isalnum() for one in challenges)


# The handshake of CloudEvents' Web Hooks ------------------------------------------------------------------------------

CONSENTS = Asked(CHALLENGE, {"origin": "hooks.example"})


def consent(*headers: tuple[str, str], status: int = 200) -> Reply:
    return Reply(status, headers, b"whatever")


ORIGIN, ANY_ORIGIN = ("WebHook-Allowed-Origin", "hooks.example"), ("webhook-allowed-origin", "*")


def rate(value: str) -> tuple[str, str]:
    return ("WebHook-Allowed-Rate", value)


def test_a_handshake_asks_for_consent() -> None:
    ask = PROOFS["handshake"].build(question(details={"origin": "hooks.example"}))

    assert ask == (
        "OPTIONS",
        "https://receiver.example/hook?a=1&b",
        (("User-Agent", USER_AGENT), ("WebHook-Request-Origin", "hooks.example")),
        b"",
    )


GRANTS = {
    "its name, at any rate": (consent(ORIGIN, rate("*")), None),
    "its name in capitals": (consent(("WEBHOOK-ALLOWED-ORIGIN", "HOOKS.example"), rate("*")), None),
    "any origin": (consent(ANY_ORIGIN, rate("120")), 120),
    "another success": (consent(ORIGIN, rate("1"), status=204), 1),
    "without a rate": (consent(ORIGIN), None),
    "with white space": (consent(("WebHook-Allowed-Origin", " * "), rate(" 7 ")), 7),
    "with leading zeros": (consent(ORIGIN, rate("007")), 7),
    "the highest rate": (consent(ORIGIN, rate("1000000")), 1_000_000),
    "more than that": (consent(ORIGIN, rate("1000001")), 1_000_000),
    "far more than an integer holds": (consent(ORIGIN, rate("9" * 5000)), 1_000_000),
}


@pytest.mark.parametrize(("reply", "allowed"), GRANTS.values(), ids=GRANTS)
def test_a_receiver_consents_and_may_limit_the_rate(reply: Reply, allowed: int | None) -> None:
    handshake = PROOFS["handshake"]

    assert handshake.refusal(reply, CONSENTS) is None
    assert handshake.grant(reply, CONSENTS) == ("hooks.example", allowed)


NOT_A_RATE = "which is neither * nor a positive integer."
REFUSALS = {
    "no header": (consent(), "The receiver answered 200 without WebHook-Allowed-Origin."),
    "only a rate": (consent(rate("*")), "The receiver answered 200 without WebHook-Allowed-Origin."),
    "another origin": (
        consent(("WebHook-Allowed-Origin", "other.example")),
        "WebHook-Allowed-Origin is 'other.example', which is neither * nor hooks.example.",
    ),
    "several in a list": (
        consent(("WebHook-Allowed-Origin", "hooks.example, *")),
        "WebHook-Allowed-Origin is 'hooks.example, *', which is neither * nor hooks.example.",
    ),
    "a wildcard": (
        consent(("WebHook-Allowed-Origin", "*.example")),
        "WebHook-Allowed-Origin is '*.example', which is neither * nor hooks.example.",
    ),
    "an empty one": (
        consent(("WebHook-Allowed-Origin", "")),
        "WebHook-Allowed-Origin is '', which is neither * nor hooks.example.",
    ),
    "a giant one": (
        consent(("WebHook-Allowed-Origin", "a" * 60_000)),
        f"WebHook-Allowed-Origin is '{'a' * 100}…', which is neither * nor hooks.example.",
    ),
    "two origins": (consent(ORIGIN, ANY_ORIGIN), "The receiver answered with more than one WebHook-Allowed-Origin."),
    "two rates": (
        consent(ORIGIN, rate("1"), rate("1")), "The receiver answered with more than one WebHook-Allowed-Rate.",
    ),
    "a redirect": (consent(ORIGIN, rate("*"), status=302), "The receiver answered 302; redirects are not followed."),
    "an error with consent": (consent(ORIGIN, rate("*"), status=500), "The receiver answered 500."),
    "no such method": (consent(status=405), "The receiver answered 405."),
    **{
        f"the rate {value!r}": (consent(ORIGIN, rate(value)), f"WebHook-Allowed-Rate is {value!r}, {NOT_A_RATE}")
        for value in ("0", "00", "-1", "+1", "NaN", "inf", "1e99", "1.5", "", "1, 2", "0x10", "1_000", "²", "١٢", "* 5")
    },
}  # fmt: skip


@pytest.mark.parametrize(("reply", "reason"), REFUSALS.values(), ids=REFUSALS)
def test_nothing_else_is_consent(reply: Reply, reason: str) -> None:
    assert PROOFS["handshake"].refusal(reply, CONSENTS) == Refused(reason)


@pytest.mark.parametrize("slug", ["challenge", "websub"])
def test_other_proofs_grant_nothing_more(slug: str) -> None:
    assert PROOFS[slug].grant(consent(ORIGIN, rate("5")), CONSENTS) is None
