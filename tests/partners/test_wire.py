"""The bytes sent over HTTP, read by third-party programs written to read them."""

import base64
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from freezegun import freeze_time
from pierre_storage import validate_webhook
from slack_sdk.models.blocks import Block
from standardwebhooks import Webhook as StandardVerifier
from standardwebhooks import WebhookVerificationError

from deliveries import pipeline, vault
from deliveries.event_types.topics import topics_of
from deliveries.models import Attempt, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import creating, secrets
from hookhub.receiving import VerificationFailed, verify
from tests.golden.messages import SIGMAGIT_ISSUE
from tests.partners import node
from tests.partners.conftest import SECRET, WRONG
from tests.partners.node import Running
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

EXAMPLES = node.MODULES / "@octokit" / "webhooks-examples" / "api.github.com" / "index.json"
HOW_MANY = 329


@pytest.fixture(scope="module")
def examples() -> list[tuple[str, Any]]:
    """Return every payload of @octokit/webhooks-examples with its event's name."""
    node.require()
    found = [(kind["name"], one) for kind in json.loads(EXAMPLES.read_text()) for one in kind["examples"]]
    assert len(found) == HOW_MANY
    return found


def hook(forge: Forge, url: str, *, now: datetime, **wanted: Any) -> Webhook:
    """Create a webhook that tries each delivery once and allows many requests in flight."""
    return forge.webhook(now=now, url=url, **{"retry_schedule": [], "max_in_flight": 50, **wanted})


def publish(forge: Forge, events: list[tuple[str, Any]], *, now: datetime) -> None:
    """Accept and fan out events with data serialized as JavaScript does."""
    pipeline.accept([as_javascript(forge, name, data, now=now) for name, data in events], now=now)
    while pipeline.fan_out(now=now).events:
        pass


def as_javascript(forge: Forge, name: str, data: Any, *, now: datetime) -> Any:
    written = json.dumps(data, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(forge.event(name, data, now=now), payload=written, topics=topics_of(name, data))


def deliver_all(sender: Sender, *, now: datetime) -> None:
    """Deliver everything that is due at one time."""
    while deliver_due(sender, now=now):
        pass


def statuses_of(webhook: Webhook) -> list[int | None]:
    return list(Attempt.objects.filter(webhook=webhook).values_list("status", flat=True))


@pytest.fixture
def address(partner: Running) -> Iterator[str]:
    return f"http://127.0.0.1:{partner.told['port']}"


# GitHub's own library ------------------------------------------------------------------------------------------------


def test_octokit_accepts_every_one_of_its_own_examples_and_refuses_each_signed_with_another_secret(
    forge: Forge, sender: Sender, now: datetime, partner: Running, address: str, examples: list[tuple[str, Any]]
) -> None:
    good = hook(forge, f"{address}/github", now=now, format="github", content_type="json", secret=SECRET)
    bad = hook(forge, f"{address}/github/wrong", now=now, format="github", content_type="json", secret=SECRET)

    publish(forge, [*examples, ("issues", SIGMAGIT_ISSUE)], now=now)
    deliver_all(sender, now=now)

    assert statuses_of(good) == [200] * (HOW_MANY + 1)
    assert statuses_of(bad) == [400] * (HOW_MANY + 1)
    arrived = partner.ask({"take": True})
    assert {one["path"] for one in arrived} == {"/github"}
    told = sorted((one["name"], json.dumps(one["payload"], sort_keys=True)) for one in arrived)
    sent = [*examples, ("issues", SIGMAGIT_ISSUE)]
    assert told == sorted((name, json.dumps(payload, sort_keys=True)) for name, payload in sent)
    assert {one["id"] for one in arrived} == {str(one) for one in good.deliveries.values_list("id", flat=True)}


def test_a_form_is_verified_over_its_encoded_bytes_by_node_and_by_our_own_helper(
    forge: Forge, sender: Sender, now: datetime, partner: Running, address: str, examples: list[tuple[str, Any]]
) -> None:
    some = [*examples[::25], ("issues", SIGMAGIT_ISSUE)]
    theirs = hook(forge, f"{address}/form", now=now, format="github", content_type="form", secret=SECRET)
    hook(forge, forge.receiver.url(), now=now, format="social-gateway", content_type="form", secret=SECRET)

    publish(forge, some, now=now)
    deliver_all(sender, now=now)

    assert statuses_of(theirs) == [200] * len(some)
    arrived = partner.ask({"take": True})
    assert [one["names"] for one in arrived] == [["payload"]] * len(some)
    payloads = sorted(json.dumps(payload, sort_keys=True) for _, payload in some)
    assert sorted(json.dumps(one["payload"], sort_keys=True) for one in arrived) == payloads
    assert {one["headers"]["content-type"] for one in arrived} == {"application/x-www-form-urlencoded"}
    received = forge.receiver.received
    data = [verify(request.body, request.headers, secrets=SECRET).data for request in received]
    assert sorted(json.dumps(one, sort_keys=True) for one in data) == payloads
    for request in received:
        with pytest.raises(VerificationFailed):
            verify(request.body, request.headers, secrets=WRONG)


def test_without_a_secret_there_is_no_signature_and_nothing_else_is_missing(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook, secret = creating.create(
        {"url": forge.receiver.url(), "events": ["*"], "format": "github", "content_type": "json", "secret": ""},
        organization=forge.organization, repository=forge.repository, now=now,
    )  # fmt: skip

    publish(forge, [("issues.opened", {"action": "opened"})], now=now)
    deliver_all(sender, now=now)

    assert secret is None
    [request] = forge.receiver.received
    assert not [name for name in request.headers if "signature" in name]
    assert {name: request.headers[name] for name in request.headers if name.startswith("x-github")} == {
        "x-github-delivery": str(webhook.deliveries.get().pk),
        "x-github-event": "issues",
        "x-github-hook-id": str(webhook.pk),
        "x-github-hook-installation-target-id": str(forge.repository.pk),
        "x-github-hook-installation-target-type": "repository",
    }
    assert (request.headers["content-type"], request.headers["accept"]) == ("application/json", "*/*")
    assert request.headers["user-agent"].startswith("GitHub-Hookshot/")


# Code Storage's SDKs -------------------------------------------------------------------------------------------------

PUSH = {
    "repository": {"id": "repo-1", "url": "https://code.example/repo-1"},
    "ref": "refs/heads/größe",
    "before": "0" * 40,
    "after": "1" * 40,
    "customer_id": "customer-1",
    "pushed_at": "2026-03-04T12:00:00Z",
}


def test_both_sdks_of_code_storage_accept_a_first_attempt_and_a_retry_after_more_than_its_five_minutes(
    forge: Forge, sender: Sender, now: datetime, partner: Running, address: str
) -> None:
    wait = timedelta(seconds=400)
    schedule = {"retry_schedule": [wait / timedelta(seconds=1)]}
    theirs = hook(forge, f"{address}/code-storage", now=now, format="code-storage", secret=SECRET, **schedule)
    hook(forge, forge.receiver.url(), now=now, format="code-storage", secret=SECRET, **schedule)
    forge.receiver.answers["/"] = [Answer(500), Answer(200)]

    # The receiver's clock shows when each request arrives; it verifies the first request and still answers 500.
    partner.ask({"clock": now.timestamp() * 1000, "status": 500})
    publish(forge, [("push", PUSH)], now=now)
    deliver_all(sender, now=now)
    later = now + wait * 1.1
    partner.ask({"clock": later.timestamp() * 1000, "status": 200})
    deliver_all(sender, now=later)

    assert sorted(statuses_of(theirs), key=str) == [200, 500]
    in_node = partner.ask({"take": True})
    assert [(one["is_valid"], one.get("error")) for one in in_node] == [(True, None), (True, None)]
    in_python = forge.receiver.received
    assert len(in_python) == 2
    for request, moment in zip(in_python, [now, later], strict=True):
        with freeze_time(moment):
            verdict = validate_webhook(request.body, dict(request.headers), SECRET)
            assert verdict.get("error") is None
            assert (verdict["valid"], verdict["event_type"]) == (True, "push")
            assert verify(request.body, request.headers, secrets=SECRET).data == PUSH
    # The second signature has its own timestamp; by then, that of the first is too old.
    first, second = in_python
    assert first.body == second.body == base64.b64decode(in_node[0]["body"]) == base64.b64decode(in_node[1]["body"])
    assert first.headers["x-pierre-signature"] != second.headers["x-pierre-signature"]
    with freeze_time(later):
        assert validate_webhook(first.body, dict(first.headers), SECRET)["error"] == (
            "Webhook timestamp too old (440 seconds)"
        )


SDK_CASES: dict[str, tuple[dict[str, str], bytes, timedelta]] = {
    "right": ({}, b"", timedelta(0)),
    "no header": ({"x-pierre-signature": ""}, b"", timedelta(0)),
    "no event": ({"x-pierre-event": ""}, b"", timedelta(0)),
    "no parts": ({"x-pierre-signature": "nonsense"}, b"", timedelta(0)),
    "no number": ({"x-pierre-signature": "t=NaN,sha256=00"}, b"", timedelta(0)),
    "too old": ({}, b"", timedelta(seconds=301)),
    "from the future": ({}, b"", timedelta(seconds=-61)),
    "another body": ({}, b" ", timedelta(0)),
    "a short signature": ({"x-pierre-signature": "t=1772625600,sha256=00"}, b"", timedelta(0)),
}


@pytest.mark.parametrize(("headers", "more", "age"), SDK_CASES.values(), ids=SDK_CASES)
def test_our_helper_says_what_code_storages_own_sdk_says(
    forge: Forge, sender: Sender, now: datetime, headers: dict[str, str], more: bytes, age: timedelta
) -> None:
    hook(forge, forge.receiver.url(), now=now, format="code-storage", secret=SECRET)
    publish(forge, [("push", PUSH)], now=now)
    deliver_all(sender, now=now)
    [request] = forge.receiver.received
    changed, body = {**request.headers, **headers}, request.body + more

    with freeze_time(now + age):
        theirs = validate_webhook(body, dict(changed), SECRET)
        try:
            ours = verify(body, changed, secrets=SECRET, format="code-storage").type
        except VerificationFailed as failed:
            ours = str(failed)

    assert ours == theirs.get("error", "push")


# The others ----------------------------------------------------------------------------------------------------------


def test_a_library_of_the_standard_verifies_with_each_secret_of_a_rotation_and_at_every_attempt(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = hook(forge, forge.receiver.url(), now=now, format="standard-webhooks", retry_schedule=[3600])
    [older] = [secret.text for secret in vault.secrets_of(webhook)]
    _, newer = secrets.rotate_secret(webhook.pk, now=now)
    forge.receiver.answers["/"] = [Answer(500), Answer(200)]

    publish(forge, [("issues.opened", SIGMAGIT_ISSUE)], now=now)
    deliver_all(sender, now=now)
    later = now + timedelta(hours=1.2)
    deliver_all(sender, now=later)

    first, second = forge.receiver.received
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    for request, moment in ((first, now), (second, later)):
        with freeze_time(moment):
            for secret in (newer, older):
                assert StandardVerifier(secret).verify(request.body, request.headers)["data"] == SIGMAGIT_ISSUE
    with freeze_time(later), pytest.raises(WebhookVerificationError):
        StandardVerifier(newer).verify(first.body, first.headers)


@pytest.mark.parametrize("slug", ["coregit", "codmir", "sigmagit"])
def test_the_code_that_its_own_document_shows_verifies_what_is_sent(
    forge: Forge, sender: Sender, now: datetime, partner: Running, address: str, slug: str
) -> None:
    webhook = hook(forge, f"{address}/{slug}", now=now, format=slug, secret=SECRET)
    wrong = hook(forge, f"{address}/{slug}", now=now, format=slug, secret=WRONG)

    publish(forge, [("issues.opened", SIGMAGIT_ISSUE), ("push", {}), ("push", {"empty": []})], now=now)
    deliver_all(sender, now=now)

    assert statuses_of(webhook) == [200] * 3
    assert statuses_of(wrong) == [401] * 3
    arrived = partner.ask({"take": True})
    assert sorted(one["is_valid"] for one in arrived) == [False] * 3 + [True] * 3
    if slug == "sigmagit":
        # Sigmagit's example receiver passes the text to a function that serializes its argument as JSON again, so it
        # rejects everything, even requests of Sigmagit itself. Given the parsed body, it verifies them.
        assert [one["is_valid_parsed"] for one in arrived] == [one["is_valid"] for one in arrived]
        assert not any(one["is_valid_as_text"] for one in arrived)


# Chats ---------------------------------------------------------------------------------------------------------------


def test_slacks_own_library_finds_no_fault_with_what_becomes_of_real_events(
    forge: Forge, sender: Sender, now: datetime, examples: list[tuple[str, Any]]
) -> None:
    webhook = hook(forge, forge.receiver.url("/services/T/B/x"), now=now, format="slack")

    publish(forge, [*examples, ("issues.opened", SIGMAGIT_ISSUE)], now=now)
    deliver_all(sender, now=now)

    assert statuses_of(webhook) == [200] * (HOW_MANY + 1)
    for request in forge.receiver.received:
        said = json.loads(request.body)
        blocks = Block.parse_all(said["blocks"])
        assert blocks
        for block in blocks:
            block.validate_json()
            assert block.to_dict()
