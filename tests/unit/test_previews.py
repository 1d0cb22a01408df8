"""A preview is the request that the format would send, without its signature and without secrets."""

from datetime import UTC, datetime
from typing import Any

import pytest

from deliveries import previews, vault
from deliveries.formats import FORMATS, MASK
from deliveries.models import Organization, Repository, Webhook
from deliveries.previews import SIGNATURE
from deliveries.vault import Secret

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
DATA = {"ref": "refs/heads/main", "commits": [], "repository": {"full_name": "acme/widgets"}}


def webhook(slug: str, *, secrets: tuple[str, ...] | None = None, **fields: Any) -> Webhook:
    made = Webhook(
        pk=7, organization=Organization(pk=1, slug="acme"), repository=Repository(pk=2, name="widgets"), format=slug,
        events=["*"], **fields,
    )  # fmt: skip
    made.url = "https://receiver.example/path?token=t0ken"
    signs = FORMATS[slug].secret_policy.allows_secret
    wanted = ((FORMATS[slug].make_secret(),) if signs else ()) if secrets is None else secrets
    made.sealed_secrets = vault.seal_secrets(tuple(Secret(text) for text in wanted), of=made.uid)
    made.sealed_headers = vault.seal_headers({"X-Key": "k3y"}, of=made.uid)
    return made


@pytest.mark.parametrize("slug", FORMATS)
def test_every_format_is_shown_with_its_headers_and_without_what_is_secret(slug: str) -> None:
    shown = previews.preview(webhook(slug), "push", DATA, now=NOW)

    text = str(shown)
    assert "t0ken" not in text
    assert "k3y" not in text
    assert ("X-Key", MASK) in shown.headers
    assert (SIGNATURE in text) == FORMATS[slug].secret_policy.allows_secret
    assert shown.body
    assert not any("whsec_" in value for _, value in shown.headers)


@pytest.mark.parametrize(
    ("slug", "header", "value"),
    [
        ("standard-webhooks", "webhook-signature", "v1,<signature>"),
        ("github", "X-Hub-Signature-256", "sha256=<signature>"),
        ("code-storage", "X-Pierre-Signature", f"t={int(NOW.timestamp())},sha256=<signature>"),
        ("websub", "X-Hub-Signature", "sha256=<signature>"),
    ],
)
def test_a_signature_is_left_out_and_its_notation_is_not(slug: str, header: str, value: str) -> None:
    assert dict(previews.preview(webhook(slug), "push", DATA, now=NOW).headers)[header] == value


def test_there_is_a_signature_for_each_secret_and_none_without() -> None:
    two = webhook("standard-webhooks", secrets=("whsec_" + "YWFh" * 8, "whsec_" + "YmJi" * 8))
    none = webhook("github", secrets=())

    headers = dict(previews.preview(two, "push", DATA, now=NOW).headers)
    assert headers["webhook-signature"] == "v1,<signature> v1,<signature>"
    assert SIGNATURE not in str(previews.preview(none, "push", DATA, now=NOW))


def test_secrets_that_cannot_be_read_are_no_obstacle() -> None:
    lost = webhook("standard-webhooks")
    lost.sealed_secrets = lost.sealed_headers = b"lost"

    assert SIGNATURE in str(previews.preview(lost, "push", DATA, now=NOW))
