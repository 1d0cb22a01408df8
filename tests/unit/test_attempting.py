"""One attempt, from the claim to its row in the attempt log."""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from pytest_django import Settings

from deliveries import vault
from deliveries.formats import FORMATS, MASK
from deliveries.pipeline.attempting import render, schedule_of
from deliveries.pipeline.settling import pg_safe, to_row
from deliveries.policy.outcomes import NoResponse
from deliveries.policy.retry import RetryAt
from deliveries.sending.exchange import Request
from deliveries.vault import NoLiveSecret, Secret, Unreadable
from tests.unit.made_up import NOW, SECRET, WEBHOOK, a_claim, a_reply, a_result

ATTEMPT = UUID("019cb8b8-1e00-7000-8000-0000000000aa")


def row_of(came: Any, **facts: Any) -> dict[str, object]:
    return to_row(a_result(came, **facts), attempt_id=ATTEMPT)


def test_a_claim_becomes_a_signed_request_with_the_custom_headers_after_the_formats() -> None:
    claim = a_claim(sealed_headers=vault.seal_headers({"X-Token": "s3cret"}, of=WEBHOOK), verify_ssl=False)

    request = render(claim, now=NOW)

    assert (request.url, request.method, request.verify_ssl) == ("https://receiver.example/hook", "POST", False)
    assert [name for name, _ in request.headers] == [
        "Content-Type", "User-Agent", "webhook-id", "webhook-timestamp", "webhook-signature", "X-Token",
        "HookHub-Hops",
    ]  # fmt: skip
    assert request.headers[-2] == ("X-Token", "s3cret")
    assert json.loads(request.body) == {"type": "push", "timestamp": "2026-03-04T12:00:00.000Z", "data": {}}


@pytest.mark.parametrize(("age", "signatures"), [(-1, 2), (0, 1), (1, 1)])
def test_only_live_secrets_sign(age: int, signatures: int) -> None:
    older = Secret(SECRET[:-1] + "A", NOW)
    claim = a_claim(sealed_secrets=vault.seal_secrets((Secret(SECRET), older), of=WEBHOOK))

    request = render(claim, now=NOW + timedelta(seconds=age))

    assert dict(request.headers)["webhook-signature"].count("v1,") == signatures


def test_secrets_that_cannot_be_opened_raise() -> None:
    with pytest.raises(Unreadable):
        render(a_claim(sealed_secrets=b"strange"), now=NOW)


MAY_HAVE_NONE = {slug for slug, wire_format in FORMATS.items() if wire_format.secret_policy.allows_none}
EXPIRED = (Secret(SECRET, NOW),)


@pytest.mark.parametrize(
    ("slug", "secrets"),
    [
        *((slug, ()) for slug in sorted(FORMATS.keys() - MAY_HAVE_NONE)),
        *((slug, EXPIRED) for slug in sorted(FORMATS) if FORMATS[slug].secret_policy.allows_secret),
    ],
)
def test_a_webhook_that_signs_never_sends_unsigned(slug: str, secrets: tuple[Secret, ...]) -> None:
    with pytest.raises(NoLiveSecret, match="rotate"):
        render(a_claim(format=slug, sealed_secrets=vault.seal_secrets(secrets, of=WEBHOOK)), now=NOW)


@pytest.mark.parametrize("slug", sorted(MAY_HAVE_NONE))
def test_with_an_optional_signature_and_no_secret_nothing_is_signed(slug: str) -> None:
    request = render(a_claim(format=slug, sealed_secrets=vault.seal_secrets((), of=WEBHOOK)), now=NOW)

    assert not [name for name, _ in request.headers if "signature" in name.lower()]


@pytest.mark.parametrize("slug", sorted(slug for slug, one in FORMATS.items() if not one.secret_policy.allows_secret))
def test_a_format_without_signatures_ignores_secrets(slug: str) -> None:
    assert render(a_claim(format=slug, sealed_secrets=vault.seal_secrets(EXPIRED, of=WEBHOOK)), now=NOW).body


@pytest.mark.parametrize(
    ("repository_id", "kind", "number"), [(None, "organization", "7"), (79929171, "repository", "79929171")]
)
def test_githubs_headers_name_the_scope_of_the_webhook(repository_id: int | None, kind: str, number: str) -> None:
    headers = dict(render(a_claim(format="github", repository_id=repository_id), now=NOW).headers)

    assert headers["X-GitHub-Hook-ID"] == "1"
    assert headers["X-GitHub-Hook-Installation-Target-Type"] == kind
    assert headers["X-GitHub-Hook-Installation-Target-ID"] == number


@pytest.mark.parametrize("slug", ["slack", "discord"])
def test_the_attempt_log_masks_a_secret_url(slug: str) -> None:
    request = Request("https://receiver.example/hook/s3cret", (), b"", timedelta(seconds=1))
    result = a_result(a_reply(200, body=b"ok"), format=slug)._replace(request=request)

    assert to_row(result, attempt_id=ATTEMPT)["urls"] == f"https://receiver.example/{MASK}"


TIMEOUTS = {
    "the deployment's": ({}, 15),
    "the format's": ({"format": "coregit"}, 10),
    "the webhook's": ({"timeout": timedelta(seconds=3)}, 3),
    "the webhook's before the format's": ({"timeout": timedelta(seconds=3), "format": "coregit"}, 3),
    "never more than the lease bears": ({"timeout": timedelta(seconds=3000)}, 30),
}


@pytest.mark.parametrize(("facts", "seconds"), TIMEOUTS.values(), ids=TIMEOUTS)
def test_the_deadline_is_the_webhooks_or_the_formats_or_the_deployments(facts: dict[str, object], seconds: int) -> None:
    assert render(a_claim(**facts), now=NOW).timeout == timedelta(seconds=seconds)


HOUR = timedelta(hours=1)
SCHEDULES = {
    "the webhook's": ({"retry_schedule": [HOUR]}, [HOUR]),
    "the webhook's, empty": ({"retry_schedule": []}, []),
    "the webhook's before the format's": ({"retry_schedule": [HOUR], "format": "coregit"}, [HOUR]),
    "the format's, empty": ({"retry_schedule": None, "format": "coregit"}, []),
    "the deployment's": ({"retry_schedule": None}, [2 * HOUR]),
}


@pytest.mark.parametrize(("facts", "schedule"), SCHEDULES.values(), ids=SCHEDULES)
def test_the_schedule_is_the_webhooks_or_the_formats_or_the_deployments(
    settings: Settings, facts: dict[str, object], schedule: Sequence[timedelta]
) -> None:
    settings.HOOKHUB_RETRY_SCHEDULE = (2 * HOUR,)

    assert list(schedule_of(a_claim(**facts).destination)) == list(schedule)


ROWS = {
    "delivered": (a_reply(204), {}, ("delivered", "delivered", None, 0, "delivered", 204)),
    "refused": (a_reply(500), {}, ("pending", None, NOW + timedelta(minutes=1), 1, "failed", 500)),
    "refused for the last time": (a_reply(500), {"failures": 1}, ("failed", "exhausted", None, 2, "failed", 500)),
    "refused for good": (a_reply(403), {"format": "slack"}, ("failed", "exhausted", None, 1, "failed", 403)),
    "gone": (a_reply(410), {}, ("failed", "gone", None, 1, "gone", 410)),
    "lost": (
        NoResponse("timeout", "Too slow."),
        {},
        ("pending", None, NOW + timedelta(minutes=1), 1, "no_response", None),
    ),
    "delivered after failures": (a_reply(200), {"failures": 1}, ("delivered", "delivered", None, 1, "delivered", 200)),
}


@pytest.mark.parametrize(("came", "facts", "expected"), ROWS.values(), ids=ROWS)
def test_a_result_is_converted_to_columns(came: Any, facts: dict[str, object], expected: tuple[object, ...]) -> None:
    row = row_of(came, **facts)

    names = ("states", "finish_reasons", "due", "failures", "outcomes", "statuses")
    assert tuple(row[name] for name in names) == expected


def test_retry_after_in_either_form_reaches_the_decision() -> None:
    result = a_result(a_reply(503, headers={"RETRY-AFTER": "Wed, 04 Mar 2026 13:00:00 GMT"}))

    assert result.decision == RetryAt(datetime(2026, 3, 4, 13, 0, 0, tzinfo=NOW.tzinfo))


def test_the_attempt_log_shows_the_formats_headers_and_masks_custom_ones() -> None:
    sent = (("webhook-id", "1"), ("Webhook-Signature", "v1,x"), ("Authorization", "Bearer s3cret"), ("X-Own", "s3cret"))

    row = row_of(a_reply(200), request_headers=sent)

    assert row["request_headers"] == (f"webhook-id: 1\nWebhook-Signature: v1,x\nAuthorization: {MASK}\nX-Own: {MASK}")


def test_only_an_attempt_without_response_has_an_error() -> None:
    assert row_of(NoResponse("tls", "Expired."))["errors"] == "Expired."
    assert row_of(a_reply(500))["errors"] == ""


STORABLE = {
    "plain": ("ok", "ok"),
    "umlauts and emoji": ("ü 🎉", "ü 🎉"),
    "NUL": ("a\0b\0", "ab"),
    "half a character": ("a\udcf0\udc9f", "a??"),
    "half a surrogate pair": ("\ud83c", "?"),
    "control characters": ("\x01\x7f\x80", "\x01\x7f\x80"),
}


@pytest.mark.parametrize(("text", "stored"), STORABLE.values(), ids=STORABLE)
def test_text_that_postgresql_would_reject_is_made_safe(text: str, stored: str) -> None:
    assert pg_safe(text) == stored
    pg_safe(text).encode()


def test_any_response_is_made_safe_for_postgresql() -> None:
    hostile = "a\0\udcf0"

    refused = row_of(a_reply(500, headers={"X\0": hostile}, body=b"\0\xff"))
    lost = row_of(NoResponse("tls", hostile))

    assert (refused["response_headers"], refused["response_bodies"]) == ("X: a?", b"\0\xff")
    assert lost["errors"] == "a?"
