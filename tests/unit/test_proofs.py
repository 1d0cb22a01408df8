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
