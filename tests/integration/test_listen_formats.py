"""``manage.py listen`` verifies with the webhook's format, not with one that the sender chooses."""

import json
from hashlib import sha256
from hmac import digest
from io import StringIO
from typing import Any

import pytest
import requests
from django.core.management import CommandError, call_command

from deliveries import formats
from hookhub.management.listening import Behaviour
from hookhub.receiving import FORMATS
from tests.golden.messages import NEWEST, PUSH
from tests.integration.test_listen import BODY, SECRET, headers, listening

WITHOUT_A_TIME = [slug for slug, one in FORMATS.items() if not one.has_coded_secret and slug != "code-storage"]
MISSING = "The webhook-id header is missing or empty."


def heard(behaviour: Behaviour, body: bytes, sent: dict[str, str]) -> dict[str, Any]:
    """Return what is shown for one request."""
    with listening(behaviour) as (url, _, shown), requests.Session() as session:
        session.trust_env = False
        assert session.post(url, data=body, headers=sent).status_code == 200
        found: dict[str, Any] = json.loads(shown.get(timeout=60))
    return found


def in_github() -> dict[str, str]:
    """Return the headers of a request signed in GitHub's format, whose signature does not cover the time."""
    signature = digest(SECRET.encode(), BODY, sha256).hex()
    return {"X-GitHub-Event": "push", "X-GitHub-Delivery": "msg_1", "X-Hub-Signature-256": f"sha256={signature}"}


def test_a_request_signed_in_another_format_than_the_webhooks_is_refused() -> None:
    by_headers = heard(Behaviour(secrets=(SECRET,), as_json=True), BODY, in_github())
    by_format = heard(Behaviour(secrets=(SECRET,), format="standard-webhooks", as_json=True), BODY, in_github())

    assert (by_headers["format"], by_headers["verdict"]) == ("github", "signature ok")
    assert (by_format["format"], by_format["verdict"]) == ("standard-webhooks", MISSING)


def test_a_request_with_the_signatures_of_two_formats_is_verified_by_the_webhooks() -> None:
    both = {**in_github(), **headers()}

    unsaid = heard(Behaviour(secrets=(SECRET,), as_json=True), BODY, both)
    said = heard(Behaviour(secrets=(SECRET,), format="standard-webhooks", as_json=True), BODY, both)

    assert (unsaid["format"], unsaid["verdict"][:46]) == (None, "The request has signatures of several formats;")
    assert (said["format"], said["verdict"]) == ("standard-webhooks", "signature ok")


@pytest.mark.parametrize(
    "slug", [slug for slug, one in FORMATS.items() if not (one.has_coded_secret or slug == "code-storage")]
)
def test_every_format_that_signs_no_time_of_sending_is_verified_by_its_name(slug: str) -> None:
    rendered = formats.FORMATS[slug].render(PUSH)

    shown = heard(Behaviour(secrets=(NEWEST,), format=slug, as_json=True), rendered.body, dict(rendered.headers))

    assert (shown["format"], shown["verdict"]) == (slug, "signature ok")


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (
            ["--format", "standard-webhooks", "--secret", "not base64!"],
            (
                "--format standard-webhooks: a standard-webhooks secret is 'whsec_' followed by base64; "
                "copy it exactly as HookHub showed it."
            ),
        ),
        (
            ["--format", "github"],
            "--format requires the webhook's secret; use --secret-file FILE.",
        ),
    ],
)
def test_a_format_that_cannot_have_the_secret_is_refused_before_anything_is_received(
    monkeypatch: pytest.MonkeyPatch, words: list[str], complaint: str
) -> None:
    monkeypatch.delenv("HOOKHUB_WEBHOOK_SECRET", raising=False)

    with pytest.raises(CommandError) as refused:
        call_command("listen", "--port", "0", *words, stderr=StringIO())

    assert str(refused.value) == complaint
