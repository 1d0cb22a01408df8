"""Webhooks from creation to deletion: what is stored, what is shown once, and what a change removes."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography.fernet import Fernet
from freezegun import freeze_time
from pytest_django import Settings
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from deliveries import pipeline, vault
from deliveries.formats import FORMATS, SecretPolicy
from deliveries.models import Delivery, Repository, Webhook
from deliveries.sending.sender import Sender
from deliveries.webhooks import changing, creating, lifecycle, secrets
from deliveries.webhooks.fields import InvalidFields
from tests.receiver import Answer
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


def secrets_of(webhook: Webhook) -> list[str]:
    webhook.refresh_from_db()
    return [secret.text for secret in vault.secrets_of(webhook)]


def headers_of(webhook: Webhook) -> dict[str, str]:
    webhook.refresh_from_db()
    return vault.headers_of(webhook)


# Created -------------------------------------------------------------------------------------------------------------


def test_a_new_webhook_has_the_defaults_of_its_organization_and_its_format(forge: Forge, now: datetime) -> None:
    forge.organization.default_format = "coregit"
    fields = {"url": "HTTPS://8.8.8.8:443", "events": ["push", "push"]}

    webhook, secret = creating.create(fields, organization=forge.organization, repository=forge.repository, now=now)

    webhook.refresh_from_db()
    assert (webhook.url, webhook.events, webhook.format, webhook.content_type) == (
        "https://8.8.8.8/", ["push"], "coregit", "json",
    )  # fmt: skip
    assert (webhook.auto_disable, webhook.verify_ssl, webhook.retry_schedule, webhook.timeout) == (
        False,
        True,
        None,
        None,
    )
    assert (webhook.created_at, webhook.changed_at, webhook.active, webhook.failure_count) == (now, now, True, 0)
    assert (webhook.organization, webhook.repository) == (forge.organization, forge.repository)
    assert secrets_of(webhook) == [secret]
    assert webhook.sealed_headers is None


SIGNING = [slug for slug, wire_format in FORMATS.items() if wire_format.secret_policy.allows_secret]
OPTIONAL = [slug for slug, wire_format in FORMATS.items() if wire_format.secret_policy is SecretPolicy.OPTIONAL]
UNSIGNED = [slug for slug, wire_format in FORMATS.items() if not wire_format.secret_policy.allows_secret]


@pytest.mark.parametrize("slug", SIGNING)
def test_a_given_secret_is_used_and_one_is_generated_otherwise(forge: Forge, now: datetime, slug: str) -> None:
    fields = {"url": "https://8.8.8.8/", "events": ["*"], "format": slug}

    webhook, secret = creating.create(
        {**fields, "secret": WHSEC}, organization=forge.organization, repository=None, now=now
    )
    assert secret == WHSEC
    assert secrets_of(webhook) == [WHSEC]

    _, made = creating.create(fields, organization=forge.organization, repository=None, now=now)
    assert made is not None
    assert FORMATS[slug].secret_error(made) is None
    assert made != WHSEC


@pytest.mark.parametrize("slug", OPTIONAL)
def test_an_empty_secret_means_none_where_the_format_allows_none(forge: Forge, now: datetime, slug: str) -> None:
    fields = {"url": "https://8.8.8.8/", "events": ["*"], "format": slug, "secret": ""}

    webhook, secret = creating.create(fields, organization=forge.organization, repository=None, now=now)

    assert secret is None
    assert secrets_of(webhook) == []


def test_fields_that_depend_on_a_format_known_only_to_another_version_cannot_be_changed(
    forge: Forge, now: datetime
) -> None:
    webhook = forge.webhook(now=now, headers={"X-Key": "k"})
    Webhook.objects.update(format="of-tomorrow")
    changes: list[dict[str, object]] = [
        {"url": "https://example.com/b"}, {"secret": "x" * 20}, {"headers": {}}, {"content_type": "json"},
    ]  # fmt: skip
    before = Webhook.objects.values().get()

    for fields in changes:
        with pytest.raises(InvalidFields) as refused:
            changing.change(webhook.pk, fields, now=now)
        assert refused.value.errors.keys() == {"format"}
    with pytest.raises(InvalidFields):
        secrets.rotate_secret(webhook.pk, now=now)
    # Its URL may be one that is masked as a secret.
    with pytest.raises(InvalidFields, match="url: is required"):
        changing.change(webhook.pk, {"format": "coregit"}, now=now)
    assert Webhook.objects.values().get() == before

    changing.change(webhook.pk, {"name": "later", "events": ["push"]}, active=False, now=now)
    changed, _ = changing.change(webhook.pk, {"format": "coregit", "url": webhook.url}, now=now)
    assert (changed.name, changed.format, changed.shown_url) == ("later", "coregit", webhook.url)


@pytest.mark.parametrize("slug", sorted({*FORMATS} - {*OPTIONAL, *UNSIGNED}))
def test_an_empty_secret_is_invalid_where_the_format_requires_one(forge: Forge, now: datetime, slug: str) -> None:
    fields = {"url": "https://8.8.8.8/", "events": ["*"], "format": slug, "secret": ""}

    with pytest.raises(InvalidFields) as raised:
        creating.create(fields, organization=forge.organization, repository=None, now=now)

    assert set(raised.value.errors) == {"secret"}
    assert Webhook.objects.count() == 0


@pytest.mark.parametrize("slug", UNSIGNED)
def test_a_format_that_signs_nothing_has_no_secret_accepts_none_and_rotates_none(
    forge: Forge, now: datetime, slug: str
) -> None:
    fields = {"url": "https://8.8.8.8/x", "events": ["*"], "format": slug}

    webhook, secret = creating.create(fields, organization=forge.organization, repository=None, now=now)

    assert (secret, secrets_of(webhook)) == (None, [])
    refused = {
        "created": lambda: creating.create(
            {**fields, "secret": WHSEC}, organization=forge.organization, repository=None, now=now
        ),
        "changed": lambda: changing.change(webhook.pk, {"secret": WHSEC}, now=now),
        "rotated": lambda: secrets.rotate_secret(webhook.pk, now=now),
        "rotated to one": lambda: secrets.rotate_secret(webhook.pk, secret=WHSEC, now=now),
    }
    for attempt in refused.values():
        with pytest.raises(InvalidFields, match="does not sign requests"):
            attempt()
    webhook.refresh_from_db()
    assert secrets_of(webhook) == []
    assert Webhook.objects.count() == 1


def test_neither_secrets_nor_headers_are_stored_in_the_clear(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC, headers={"Authorization": "Bearer t0ps3cret"})

    row = repr(Webhook.objects.values().get(pk=webhook.pk)) + repr(bytes(webhook.sealed_headers))

    assert "t0ps3cret" not in row
    assert WHSEC[6:] not in row


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({}, {"url", "events"}),
        ({"events": ["*"]}, {"url"}),
        ({"url": "x", "events": []}, {"url", "events"}),
        ({"url": "https://8.8.8.8/", "events": ["*"], "format": "nope", "timeout": 0}, {"format", "timeout"}),
        ({"url": "https://8.8.8.8/", "events": ["*"], "disabled_at": "now"}, {"disabled_at"}),
    ],
    ids=["nothing", "no url", "bad", "two errors", "no field"],
)
def test_invalid_fields_create_nothing(forge: Forge, now: datetime, fields: dict[str, Any], errors: set[str]) -> None:
    with pytest.raises(InvalidFields) as raised:
        creating.create(fields, organization=forge.organization, repository=None, now=now)

    assert set(raised.value.errors) == errors
    assert Webhook.objects.count() == 0


# Changed -------------------------------------------------------------------------------------------------------------


def test_a_change_changes_what_was_given_and_nothing_else(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC, headers={"A": "b"}, retry_schedule=[60], name="old")
    before = Webhook.objects.values().get()
    later = now + timedelta(hours=1)

    changed, secret = changing.change(webhook.pk, {"name": "new", "events": ["push"], "timeout": None}, now=later)

    assert secret is None
    after = Webhook.objects.values().get()
    assert {name for name in before if before[name] != after[name]} == {"name", "events", "changed_at"}
    assert (changed.name, changed.events, changed.changed_at) == ("new", ["push"], later)
    assert (secrets_of(webhook), headers_of(webhook)) == ([WHSEC], {"A": "b"})


MOVES = {
    "another query": ("https://8.8.8.8/?x=y", False),
    "another path": ("https://8.8.8.8/other", True),
    "a path that begins the same": ("https://8.8.8.8//", True),
    "another port": ("https://8.8.8.8:8443/", True),
    "the same in another spelling": ("HTTPS://8.8.8.8:443/", False),
    "no longer encrypted": ("http://8.8.8.8/", True),
    "another host": ("https://8.8.4.4/", True),
    "a host that begins the same": ("https://8.8.8.8.example/", True),
}


@pytest.mark.parametrize(("url", "moves"), MOVES.values(), ids=MOVES)
def test_a_move_to_another_receiver_replaces_the_secret_and_removes_the_headers(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch, url: str, *, moves: bool
) -> None:
    monkeypatch.setattr("deliveries.sending.url.resolve_quickly", lambda host: [])
    webhook = forge.webhook(now=now, url="https://8.8.8.8/", secret=WHSEC, headers={"Authorization": "Bearer x"})

    _, secret = changing.change(webhook.pk, {"url": url}, now=now)

    if moves:
        assert secret is not None
        assert secret != WHSEC
        assert (secrets_of(webhook), headers_of(webhook)) == ([secret], {})
    else:
        assert secret is None
        assert (secrets_of(webhook), headers_of(webhook)) == ([WHSEC], {"Authorization": "Bearer x"})


def test_https_instead_of_http_is_not_a_move(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, url="http://8.8.8.8/", secret=WHSEC, headers={"A": "b"})

    assert changing.change(webhook.pk, {"url": "https://8.8.8.8/"}, now=now)[1] is None
    assert (secrets_of(webhook), headers_of(webhook)) == ([WHSEC], {"A": "b"})

    # A URL with another port is another endpoint, encrypted or not.
    assert changing.change(webhook.pk, {"url": "https://8.8.8.8:8443/"}, now=now)[1] is not None


def test_a_move_keeps_what_is_sent_along(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, url="https://8.8.8.8/", secret=WHSEC, headers={"A": "old"})

    _, secret = changing.change(
        webhook.pk, {"url": "https://8.8.4.4/", "secret": OTHER, "headers": {"A": "new"}}, now=now
    )

    assert secret == OTHER
    assert (secrets_of(webhook), headers_of(webhook)) == ([OTHER], {"A": "new"})


def test_a_move_ends_a_rotation_too(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, url="https://8.8.8.8/", secret=WHSEC)
    secrets.rotate_secret(webhook.pk, now=now)

    _, secret = changing.change(webhook.pk, {"url": "https://8.8.4.4/"}, now=now)

    assert secrets_of(webhook) == [secret]


def test_empty_headers_remove_the_headers(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"A": "b"})

    changing.change(webhook.pk, {"headers": {}}, now=now)

    assert headers_of(webhook) == {}


def test_a_new_format_keeps_a_valid_secret_and_replaces_an_invalid_one(forge: Forge, now: datetime) -> None:
    fits = forge.webhook(now=now, secret=WHSEC)
    plain = forge.webhook(now=now, format="coregit", secret="a plain secret")

    assert changing.change(fits.pk, {"format": "coregit"}, now=now)[1] is None
    assert secrets_of(fits) == [WHSEC]

    _, secret = changing.change(plain.pk, {"format": "standard-webhooks"}, now=now)
    assert secret is not None
    assert FORMATS["standard-webhooks"].secret_error(secret) is None
    assert secrets_of(plain) == [secret]


# Format and secret before, the change, and the secret afterwards: kept, none, or a new one.
FORMAT_CHANGES = {
    "a chat to a signed one": ("slack", None, {"format": "coregit", "url": "https://8.8.4.4/"}, "new"),
    "a signed one to a chat": ("coregit", WHSEC, {"format": "slack"}, None),
    "unsigned GitHub to a signed one": ("github", "", {"format": "coregit"}, "new"),
    "a short secret to where that is too short": ("github", "abc", {"format": "coregit"}, "new"),
    "a secret to GitHub": ("coregit", "a plain secret", {"format": "github"}, "a plain secret"),
    "a chat to GitHub": ("slack", None, {"format": "github", "url": "https://8.8.8.8/new"}, None),
    "GitHub's secret taken away": ("github", "abc", {"secret": ""}, None),
    "GitHub's secret set": ("github", "", {"secret": "abc"}, "abc"),
    "unsigned GitHub to another door": ("github", "", {"url": "https://8.8.4.4/"}, None),
    "signed GitHub to another door": ("github", "abc", {"url": "https://8.8.4.4/"}, "new"),
    "a chat to another door": ("slack", None, {"url": "https://8.8.4.4/"}, None),
    "only a name": ("github", "abc", {"name": "new"}, "abc"),
}


@pytest.mark.parametrize(("slug", "secret", "fields", "after"), FORMAT_CHANGES.values(), ids=FORMAT_CHANGES)
def test_after_a_change_the_secret_is_valid_for_the_format(
    forge: Forge, now: datetime, slug: str, secret: str | None, fields: dict[str, Any], after: str | None
) -> None:
    given = {} if secret is None else {"secret": secret}
    webhook = forge.webhook(now=now, url="https://8.8.8.8/", format=slug, **given)

    changed, shown = changing.change(webhook.pk, fields, now=now)

    if after == "new":
        assert shown is not None
        assert shown != secret
        assert FORMATS[changed.format].secret_error(shown) is None
        assert secrets_of(changed) == [shown]
    else:
        assert secrets_of(changed) == ([after] if after else [])
        assert shown == (fields.get("secret") or None)


def test_a_rotation_to_nothing_is_refused_and_changes_nothing(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="github", secret="abc")

    with pytest.raises(InvalidFields) as raised:
        secrets.rotate_secret(webhook.pk, secret="", now=now)

    assert set(raised.value.errors) == {"secret"}
    assert secrets_of(webhook) == ["abc"]


def test_an_unsigned_webhook_gets_a_secret_by_rotation(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="github", secret="")

    rotated, secret = secrets.rotate_secret(webhook.pk, now=now)

    assert secrets_of(rotated) == [secret]


def test_a_new_format_must_not_send_a_custom_header_itself(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="coregit", headers={"Webhook-Signature": "v1,forged"})

    with pytest.raises(InvalidFields) as raised:
        changing.change(webhook.pk, {"format": "standard-webhooks"}, now=now)

    assert set(raised.value.errors) == {"headers"}
    webhook.refresh_from_db()
    assert webhook.format == "coregit"
    # With valid headers, the change succeeds.
    changing.change(webhook.pk, {"format": "standard-webhooks", "headers": {"A": "b"}}, now=now)
    assert headers_of(webhook) == {"A": "b"}


def test_invalid_fields_change_nothing(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, name="old")
    before = Webhook.objects.values().get()

    with pytest.raises(InvalidFields):
        changing.change(webhook.pk, {"name": "new", "timeout": -1}, now=now)

    assert Webhook.objects.values().get() == before


def test_a_webhook_can_be_created_disabled_and_then_no_email_is_due(forge: Forge, now: datetime) -> None:
    fields = {"url": forge.receiver.url(), "events": ["*"]}

    asleep, _ = creating.create(fields, organization=forge.organization, repository=None, active=False, now=now)
    forge.accept(now=now)

    asleep.refresh_from_db()
    assert (asleep.active, asleep.disabled_at, asleep.disabled_reason, asleep.owner_notified_at) == (
        False, now, "by_owner", now,
    )  # fmt: skip
    assert not Delivery.objects.exists()


def test_a_change_of_fields_and_of_activity_is_atomic(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    forge.accept(now=now)
    later = now + timedelta(minutes=1)

    with pytest.raises(InvalidFields):
        changing.change(webhook.pk, {"events": []}, active=False, now=later)
    untouched = Webhook.objects.get()
    changing.change(webhook.pk, {"events": ["push"]}, active=False, now=later)
    asleep, held = Webhook.objects.get(), Delivery.objects.get().state
    changing.change(webhook.pk, {}, active=False, now=later + timedelta(minutes=1))
    still = Webhook.objects.get()
    changing.change(webhook.pk, {}, active=True, now=later)
    awake = Webhook.objects.get()

    assert (untouched.active, untouched.events) == (True, ["*"])
    assert (asleep.active, asleep.disabled_reason, asleep.events, held) == (False, "by_owner", ["push"], "held")
    # Disabling it again keeps the time of the first.
    assert still.disabled_at == later
    assert (awake.active, Delivery.objects.get().state) == (True, "held")


def test_enabling_an_active_webhook_does_not_reset_its_health(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    Webhook.objects.update(failure_count=3)

    changed, _ = changing.change(webhook.pk, {}, active=True, now=now)

    assert (changed.failure_count, changed.enabled_at) == (3, None)


def test_a_repository_that_is_deleted_meanwhile_gets_no_webhook(forge: Forge, now: datetime) -> None:
    Repository.objects.filter(pk=forge.repository.pk).delete()

    with pytest.raises(InvalidFields) as refused:
        forge.webhook(now=now, repository=forge.repository)

    assert refused.value.errors == {"repository": "was deleted in the meantime"}
    assert not Webhook.objects.exists()


def test_a_deleted_webhook_can_be_neither_changed_nor_rotated(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    lifecycle.delete(webhook.pk, now=now)

    with pytest.raises(Webhook.DoesNotExist):
        changing.change(webhook.pk, {"name": "new"}, now=now)
    with pytest.raises(Webhook.DoesNotExist):
        secrets.rotate_secret(webhook.pk, now=now)


# Rotated -------------------------------------------------------------------------------------------------------------


def test_during_the_overlap_both_secrets_sign_and_afterwards_only_the_new_one(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC)
    _, new = secrets.rotate_secret(webhook.pk, overlap=timedelta(hours=1), now=now)
    moments = [now, now + timedelta(hours=1, microseconds=-1), now + timedelta(hours=1)]

    for moment in moments:
        forge.accept(now=moment)
        deliver_due(sender, now=moment)

    for moment, request, old_signs in zip(moments, forge.receiver.received, [True, True, False], strict=True):
        with freeze_time(moment):
            Verifier(new).verify(request.body, request.headers)
            if old_signs:
                Verifier(WHSEC).verify(request.body, request.headers)
            else:
                with pytest.raises(WebhookVerificationError):
                    Verifier(WHSEC).verify(request.body, request.headers)


def test_rotating_without_an_overlap_ends_the_old_secret_at_once(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC)

    secrets.rotate_secret(webhook.pk, secret=OTHER, overlap=timedelta(0), now=now)

    assert secrets_of(webhook) == [OTHER]


def test_rotating_again_does_not_prolong_an_expiring_secret(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC)
    hour = timedelta(hours=1)
    _, second = secrets.rotate_secret(webhook.pk, overlap=hour, now=now)
    _, third = secrets.rotate_secret(webhook.pk, overlap=24 * hour, now=now + hour / 2)
    webhook.refresh_from_db()

    found = {secret.text: secret.expires_at for secret in vault.secrets_of(webhook)}

    assert found == {third: None, second: now + hour / 2 + 24 * hour, WHSEC: now + hour}
    secrets.rotate_secret(webhook.pk, overlap=hour, now=now + hour)
    assert WHSEC not in secrets_of(webhook)


def test_rotating_again_and_again_keeps_the_newest_few(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)

    made = [secrets.rotate_secret(webhook.pk, now=now)[1] for _ in range(12)]

    assert secrets_of(webhook) == made[::-1][: secrets.MAX_SECRETS]


def test_rotating_to_the_secret_that_is_there_leaves_it_alone(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC)

    secrets.rotate_secret(webhook.pk, secret=WHSEC, now=now)

    webhook.refresh_from_db()
    assert vault.secrets_of(webhook) == (vault.Secret(WHSEC),)


def test_an_invalid_secret_rotates_nothing(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now, secret=WHSEC)

    for bad in ("whsec_!", "", "plain"):
        with pytest.raises(InvalidFields):
            secrets.rotate_secret(webhook.pk, secret=bad, now=now)

    assert secrets_of(webhook) == [WHSEC]


# Reencrypted ---------------------------------------------------------------------------------------------------------


def test_all_secrets_are_reencrypted_with_the_first_key(forge: Forge, now: datetime, settings: Settings) -> None:
    hooks = [forge.webhook(now=now, secret=WHSEC, headers={"A": "b"}), forge.webhook(now=now, secret=OTHER)]
    old, new = settings.HOOKHUB_ENCRYPTION_KEYS, Fernet.generate_key().decode()
    settings.HOOKHUB_ENCRYPTION_KEYS = (new, *old)

    assert sum(secrets.reencrypt_all()) == 2

    settings.HOOKHUB_ENCRYPTION_KEYS = (new,)
    assert [secrets_of(webhook) for webhook in hooks] == [[WHSEC], [OTHER]]
    assert headers_of(hooks[0]) == {"A": "b"}


# Notifications about webhooks ----------------------------------------------------------------------------------------


def test_a_subscriber_to_webhook_disabled_is_notified_and_one_to_everything_is_not(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    failing = forge.webhook(now=now, path="/failing", events=["push"], retry_schedule=[60], name="Failing")
    forge.webhook(now=now, path="/told", events=["webhook.disabled"])
    forge.webhook(now=now, path="/family", events=["webhook"])
    forge.webhook(now=now, path="/everything")
    forge.webhook(now=now, path="/repository", events=["webhook.disabled"], repository=forge.repository)
    stranger = Forge.make(forge.receiver, "globex")
    stranger.webhook(now=now, path="/stranger", events=["webhook.disabled"])
    forge.receiver.answers["/failing"] = Answer(500)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    later = now + timedelta(minutes=2)
    deliver_due(sender, now=later)
    forge.receiver.received.clear()

    pipeline.fan_out(now=later)
    deliver_due(sender, now=later)

    assert sorted(request.path for request in forge.receiver.received) == ["/family", "/told"]
    body = forge.receiver.received[0].body.decode()
    assert '"type":"webhook.disabled"' in body
    assert str(failing.uid) in body
    assert '"reason":"failing"' in body
    assert "whsec" not in body


FORMATS_OF = {
    "the dialect's": ("codmir", None, "codmir"),
    "HookHub's own": ("native", None, "standard-webhooks"),
    "what is set goes before the dialect's": ("codmir", "github", "github"),
}


@pytest.mark.parametrize(("dialect", "default_format", "expected"), FORMATS_OF.values(), ids=FORMATS_OF)
def test_the_default_dialect_determines_the_wire_format_where_nothing_else_does(
    forge: Forge, now: datetime, dialect: str, default_format: str | None, expected: str
) -> None:
    forge.organization.default_dialect = dialect
    forge.organization.default_format = default_format

    assert forge.webhook(now=now).format == expected
    assert forge.webhook(now=now, format="sigmagit").format == "sigmagit"
