"""The portal's page about signatures: the code it shows, and what its form says of requests as they were received."""

import html
import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from deliveries import vault
from deliveries.models import AuditEntry, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import secrets
from hookhub.portal import verification
from hookhub.portal.snippets import LANGUAGES
from tests.api import Caller
from tests.portal import shown, token_of, visitor
from tests.receiver import Received
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

HOSTILE = "</textarea><script>alert(1)</script>"
OTHER = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="


def address_of(webhook: Webhook) -> str:
    return f"/portal/webhooks/{webhook.uid}/verification"


def check(browser: Client, webhook: Webhook, *, status: int = 200, **fields: Any) -> list[str]:
    """Return what the form says of a request."""
    page = shown(browser, address_of(webhook))
    answer = browser.post(address_of(webhook), {"form_token": token_of(page), **fields})
    assert answer.status_code == status
    found = answer.content.decode()
    secret = str(fields.get("secret", ""))
    assert len(secret) < 12 or secret not in found
    return [html.unescape(text) for text in re.findall(r'<li><span class="badge \w+">\w+</span> (.*?)</li>', found)]


def received(forge: Forge, sender: Sender) -> tuple[str, str]:
    """Return the headers and the body of a request that the receiver got."""
    now = timezone.now()
    forge.accept(now=now, data={"title": "ü"})
    deliver_due(sender, now=now)
    request: Received = forge.receiver.received[-1]
    return "\n".join(f"{name}: {value}" for name, value in request.headers.items()), request.body.decode()


@pytest.mark.parametrize(
    ("wire_format", "header"),
    [
        ("standard-webhooks", "webhook-signature"),
        ("github", "X-Hub-Signature-256"),
        ("code-storage", "X-Pierre-Signature"),
        ("coregit", "X-CoreGit-Signature"),
    ],
)
def test_the_page_has_code_for_the_format_in_every_language(
    forge: Forge, caller: Caller, now: datetime, wire_format: str, header: str
) -> None:
    webhook = forge.webhook(now=now, format=wire_format)

    page = shown(visitor(caller), address_of(webhook))

    assert re.findall(r"<summary>(.*?)</summary>", page) == [html.escape(name) for name in LANGUAGES.values()]
    assert page.lower().count(header.lower()) >= len(LANGUAGES)
    assert not [each for each in vault.secrets_of(webhook) if each.text in page]
    assert not re.search(r"__[A-Z]+_*[A-Z]*__", page)


def test_formats_without_a_signature_say_so(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="slack")

    assert "are not signed" in shown(visitor(caller), address_of(webhook))


@pytest.mark.parametrize("wire_format", ["standard-webhooks", "github", "codmir", "mcp-event", "cloudevents"])
def test_a_request_as_it_was_received_is_checked(
    forge: Forge, caller: Caller, sender: Sender, wire_format: str
) -> None:
    now = timezone.now()
    given = {"secret": "sesame-sesame"} if wire_format in {"github", "codmir"} else {}
    webhook = forge.webhook(now=now, format=wire_format, **given)
    secret = vault.secrets_of(webhook)[0].text
    headers, body = received(forge, sender)
    browser = visitor(caller, role="manage")
    changed = body[:-1] + "!"

    assert check(browser, webhook, headers=headers, body=body)[0] == "The signature is valid."
    assert check(browser, webhook, headers=headers, body=body, secret=secret)[0] == "The signature is valid."
    assert check(browser, webhook, headers=headers, body=body, secret=OTHER)[0] == (
        "The secret that you entered is not the one that signed this request; the webhook's is."
    )
    size = len(body.encode())
    assert check(browser, webhook, headers=headers, body=changed)[0] == (
        f"The body was changed: it differs from byte {size} on; it has {size} bytes, and {size} were sent."
    )
    assert "the id in" in " ".join(check(browser, webhook, headers=headers.replace("01", "02"), body=changed))
    assert AuditEntry.objects.filter(actor_kind="portal").count() == 0


def test_after_a_rotation_the_previous_secret_is_recognized(forge: Forge, caller: Caller, sender: Sender) -> None:
    now = timezone.now()
    webhook = forge.webhook(now=now, format="coregit")
    headers, body = received(forge, sender)
    secrets.rotate_secret(webhook.pk, overlap=timedelta(hours=1), now=now)
    webhook.refresh_from_db()

    said = check(visitor(caller, role="manage"), webhook, headers=headers, body=body)

    assert said[0] == "The signature is valid."
    assert said[1].startswith("It is signed with a previous secret of the webhook, which is used until")


def test_a_session_that_may_only_look_uses_the_secret_that_it_brings(
    forge: Forge, caller: Caller, sender: Sender
) -> None:
    webhook = forge.webhook(now=timezone.now())
    headers, body = received(forge, sender)
    browser = visitor(caller, role="read")

    assert check(browser, webhook, headers=headers, body=body) == [
        "Enter the secret. A session that may only look cannot use the stored one."
    ]
    wrong = check(browser, webhook, headers=headers, body=body, secret=OTHER)
    right = check(browser, webhook, headers=headers, body=body, secret=vault.secrets_of(webhook)[0].text)

    assert wrong[1] == "The secret that you entered did not sign this request."
    assert right[0] == "The signature is valid."


def test_checks_are_limited_and_so_is_their_size(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now)
    browser = visitor(caller, role="manage")

    assert check(browser, webhook, headers="", body="x" * 300_000) == [
        "The body may have 262144 characters; use the code above for longer ones."
    ]
    assert check(browser, webhook, headers="x" * 20_000, body="") == [
        "The headers may have 16384 characters; use the code above for longer ones."
    ]
    assert check(browser, webhook, headers="", body="", secret="x" * 300) == ["The secret is too long."]
    monkeypatch.setattr(verification, "CHECKS_A_MINUTE", 3)
    assert "Too many" in check(browser, webhook, headers="", body="", status=429)[0]


@pytest.mark.parametrize("text", [HOSTILE, "\u202e", "{" * 5000, "[" * 100_000, '{"a": 1e999}', "\n\n", "webhook-id"])
def test_whatever_is_pasted_is_answered(forge: Forge, caller: Caller, now: datetime, text: str) -> None:
    webhook = forge.webhook(now=now)
    browser = visitor(caller, role="manage")
    valid = "webhook-id: 1\nwebhook-timestamp: 1\nwebhook-signature: v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="

    assert check(browser, webhook, headers=text[:9000], body=text)
    assert check(browser, webhook, headers=valid, body=text)
    assert check(browser, webhook, headers=valid, body="", secret=text[:200] or "x")


def test_another_tenants_webhook_is_not_found_and_a_form_of_another_site_checks_nothing(
    forge: Forge, caller: Caller, now: datetime
) -> None:
    webhook = forge.webhook(now=now)
    foreign = Forge.make(forge.receiver, "globex").webhook(now=now)
    browser = visitor(caller, role="manage")
    token = token_of(shown(browser, address_of(webhook)))

    assert browser.post(address_of(foreign), {"form_token": token, "headers": "", "body": ""}).status_code == 404
    assert browser.post(address_of(webhook), {"headers": "", "body": ""}).status_code == 403
    shown(browser, address_of(foreign), status=404)


def test_a_page_about_an_error_hides_what_was_pasted(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now)
    browser = visitor(caller, role="manage")
    token = token_of(shown(browser, address_of(webhook)))
    seen: list[Any] = []

    def fail(*_args: object, **_options: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(verification, "checked", fail)
    browser.raise_request_exception = False
    monkeypatch.setattr(
        "django.core.handlers.exception.log_response", lambda *_args, **options: seen.append(options.get("request"))
    )
    browser.post(address_of(webhook), {"form_token": token, "secret": "sesame", "headers": "h", "body": "b"})

    [request] = [each for each in seen if each is not None]
    assert {"secret", "headers", "body"} <= set(request.sensitive_post_parameters)
