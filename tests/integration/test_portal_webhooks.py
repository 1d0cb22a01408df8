"""The portal's forms of webhooks: create, change, and get a new secret, with the rules of the API."""

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client
from django.utils import timezone

from deliveries import vault
from deliveries.formats import FORMATS
from deliveries.models import AuditEntry, Organization, Repository, Webhook
from deliveries.proofs import OWNERS
from deliveries.webhooks import changing, secrets
from hookhub.event_types import registry
from hookhub.models import PortalSession
from hookhub.portal.format_words import EXPLANATIONS
from hookhub.portal.webhook_forms import VERIFY
from tests.api import Caller
from tests.portal import HOSTILE, shown, visitor
from tests.story import Forge, together

pytestmark = pytest.mark.django_db

NEW = "/portal/webhooks/new"


def hidden(page: str, name: str) -> str:
    found = re.search(rf'name="{name}" value="([^"]*)"', page)
    assert found is not None, page
    return unescape(found[1])


def fields_of(page: str) -> dict[str, Any]:
    """Return what a browser would send of the page's big form, as it was loaded."""
    form = re.search(r'<form method="post"[^>]*class="edit">(.*?)</form>', page, re.DOTALL)
    assert form is not None, page
    fields: dict[str, Any] = {}
    for tag in re.findall(r"<input[^>]*>", form[1]):
        attributes = dict(re.findall(r'([a-z_-]+)="([^"]*)"', tag))
        if attributes.get("type") in {"checkbox", "radio"} and not re.search(r"\bchecked\b", tag):
            continue
        fields.setdefault(attributes["name"], []).append(
            unescape(attributes.get("value", "on" if attributes.get("type") in {"checkbox", "radio"} else ""))
        )
    for name, text in re.findall(r'<textarea[^>]*name="(\w+)"[^>]*>(.*?)</textarea>', form[1], re.DOTALL):
        fields[name] = [unescape(text).lstrip("\n")]
    for name, options in re.findall(r'<select[^>]*name="(\w+)"[^>]*>(.*?)</select>', form[1], re.DOTALL):
        chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
        assert chosen is not None
        fields[name] = [chosen[1]]
    return fields


def send(browser: Client, address: str, **changes: Any) -> Any:
    """Load a form, fill in some fields, and send it."""
    return browser.post(address, {**fields_of(shown(browser, address)), **changes})


def text_of(answer: HttpResponse) -> str:
    return unescape(answer.content.decode())


def address_of(webhook: Webhook, page: str = "settings") -> str:
    return f"/portal/webhooks/{webhook.uid}/{page}"


def stored(webhook: Webhook) -> Webhook:
    return Webhook.objects.get(pk=webhook.pk)


# Creating -------------------------------------------------------------------------------------------------------------


def test_an_owner_creates_a_webhook_and_sees_its_secret_once(forge: Forge, owner: Client) -> None:
    assert NEW in shown(owner, "/portal/")
    url = forge.receiver.url("/in?token=t0ken")

    sent = {
        "url": url, "name": "CI", "types": ["push"], "patterns": "issues\nmy.type", "retries": "own",
        "waits": "30s, 5 min,2h", "timeout": "5", "max_in_flight": "3", "rate_requests": "10",
        "header_name": ["X-Key", "", ""], "header_value": ["v4lue", "", ""],
    }  # fmt: skip
    fields = {**fields_of(shown(owner, NEW)), **sent}
    answer = owner.post(NEW, fields)

    assert answer.status_code == 200, text_of(answer)
    made = Webhook.objects.get()
    [secret] = vault.secrets_of(made)
    page = text_of(answer)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert f">{secret.text}</pre>" in page
    assert "t0ken" not in page
    assert (made.url, made.name, made.events) == (url, "CI", ["push", "issues", "my.type"])
    assert made.retry_schedule == [timedelta(seconds=30), timedelta(minutes=5), timedelta(hours=2)]
    assert (made.timeout, made.max_in_flight, made.rate_limit) == (timedelta(seconds=5), 3, (10, 1))
    assert (made.format, made.repository, made.verify_ssl, made.auto_disable) == ("standard-webhooks", None, True, True)
    assert vault.headers_of(made) == {"X-Key": "v4lue"}
    entry = AuditEntry.objects.get(action="webhook.created")
    assert (entry.actor_kind, entry.actor_id) == ("portal", str(PortalSession.objects.get().pk))

    again = owner.post(NEW, fields)

    assert (again.status_code, again["Location"]) == (302, f"/portal/webhooks/{made.uid}")
    assert Webhook.objects.count() == 1
    for address in ("/portal/", f"/portal/webhooks/{made.uid}", address_of(made), address_of(made, "secret")):
        page = shown(owner, address)
        assert secret.text not in page
        assert "v4lue" not in page
        assert "t0ken" not in page


@pytest.mark.django_db(transaction=True)
def test_one_form_sent_twice_at_once_creates_one_webhook(forge: Forge, caller: Caller) -> None:
    owner = visitor(caller, role="manage")
    fields = {**fields_of(shown(owner, NEW)), "url": forge.receiver.url("/"), "types": ["push"]}
    second = Client()
    second.cookies = owner.cookies

    answers = together(lambda: owner.post(NEW, fields), lambda: second.post(NEW, fields))

    assert Webhook.objects.count() == 1
    assert sorted(answer.status_code for answer in answers) == [200, 302]


def test_a_draft_of_another_session_or_none_creates_nothing(forge: Forge, caller: Caller, owner: Client) -> None:
    draft = hidden(shown(visitor(caller, role="manage"), NEW), "draft")
    victim = forge.webhook(now=timezone.now())

    for forged in ("", "x", draft, f"{victim.uid}.{draft.partition('.')[2]}"):
        answer = send(owner, NEW, url=forge.receiver.url("/"), types=["push"], draft=forged)
        assert answer.status_code == 422
        assert "This form is out of date." in text_of(answer)
    assert Webhook.objects.count() == 1


def test_a_webhook_of_a_session_for_a_repository_belongs_to_it(forge: Forge, caller: Caller) -> None:
    other = Repository.objects.create(organization=forge.organization, name="gadgets")
    owner = visitor(caller, role="manage", scope={"repository": "widgets"})
    assert "It gets the events of the repository widgets." in shown(owner, NEW)

    answer = send(owner, NEW, url=forge.receiver.url("/"), everything="on", repository=other.name)

    assert answer.status_code == 200
    assert Webhook.objects.get().repository == forge.repository
    assert Webhook.objects.get().events == ["*"]


def test_a_session_for_an_organization_names_a_repository_of_its_own(
    forge: Forge, caller: Caller, owner: Client
) -> None:
    stranger = Forge.make(forge.receiver, "globex")
    Repository.objects.filter(pk=stranger.repository.pk).update(name="secret")

    for name in ("secret", "globex/secret", "nowhere", HOSTILE):
        answer = send(owner, NEW, url=forge.receiver.url("/"), everything="on", repository=name)
        assert answer.status_code == 422
        assert "There is no repository of this name." in text_of(answer)
        assert HOSTILE not in answer.content.decode()
    assert not Webhook.objects.exists()
    assert send(owner, NEW, url=forge.receiver.url("/"), everything="on", repository="acme/widgets").status_code == 200
    assert Webhook.objects.get().repository == forge.repository


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"url": ""}, "This field is required."),
        ({"url": "ftp://x.example"}, "ttp"),
        ({"url": "http://10.0.0.1/"}, "10.0.0.1"),
        ({"types": [], "everything": ""}, "Choose at least one event type."),
        ({"types": [], "everything": "", "timeout": "99"}, "Must be a number of seconds from 1 to 30."),
        ({"patterns": "not a type!"}, "is not a valid event type"),
        ({"patterns": HOSTILE}, "is not a valid event type"),
        ({"format": "pigeon"}, "pigeon"),
        ({"retries": "own", "waits": "soon"}, "“soon” is not a time"),
        ({"retries": "own", "waits": ""}, "Write at least one wait"),
        ({"retries": "own", "waits": "8 d"}, "Each delay must be from 1 to 604800 seconds."),
        ({"timeout": "99"}, "Must be a number of seconds from 1 to 30."),
        ({"timeout": HOSTILE}, "Enter a number."),
        ({"max_in_flight": "0"}, "Must be an integer from 1 to 1000."),
        ({"rate_requests": "0"}, "Must be a whole number from 1 to 10000, for 0.1 to 10000 a second."),
        ({"rate_requests": "10", "rate_per": ""}, "Is required."),
        ({"rate_requests": "10", "rate_per": "86400"}, "Must be a whole number of seconds from 1 to 3600."),
        ({"header_name": ["Host"], "header_value": ["x"]}, "Host cannot be set"),
        ({"header_name": [HOSTILE], "header_value": ["x"]}, "is not a valid header name"),
        ({"header_name": ["X-A", "x-a"], "header_value": ["1", "2"]}, "Write each header once"),
        ({"header_name": ["X-A"], "header_value": ["********"]}, "The value of X-A is masked"),
        ({"secret": "short"}, "whsec_"),
        ({"format": "slack", "secret": "whsec_c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0"}, "does not sign requests"),
        ({"format": "slack", "verify": "challenge", "secret": ""}, "its receivers echo no challenge"),
        ({"expires_at": "2001-01-01T00:00"}, "Must be in the future."),
        ({"expires_at": "tomorrow"}, "Enter a valid date/time."),
        ({"name": "\N{RIGHT-TO-LEFT OVERRIDE}"}, "bidirectional"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_and_what_was_typed_is_kept(
    forge: Forge, owner: Client, fields: dict[str, Any], message: str
) -> None:
    typed = {
        "url": forge.receiver.url("/typed"),
        "name": "Typed <b>",
        "types": ["push"],
        "secret": "whsec_MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTI=",
    }

    answer = send(owner, NEW, **{**typed, **fields})

    page = answer.content.decode()
    assert answer.status_code == 422
    assert message in unescape(page)
    assert HOSTILE not in page
    for name in {"url", "name"} - fields.keys():
        assert typed[name] in unescape(page)
    assert "Typed <b>" not in page
    assert "whsec_MTI" not in page
    assert not Webhook.objects.exists()
    if "types" not in fields:
        assert fields_of(page)["types"] == ["push"]


def test_the_limits_of_the_organization_hold(forge: Forge, owner: Client, settings: Any) -> None:
    forge.webhook(now=timezone.now())
    settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 1
    answer = send(owner, NEW, url=forge.receiver.url("/"), everything="on")
    assert (answer.status_code, Webhook.objects.count()) == (422, 1)
    assert "The organization: Has reached its limit of 1 webhook" in text_of(answer)

    settings.HOOKHUB_WEBHOOKS_PER_ORGANIZATION = 0
    settings.HOOKHUB_WEBHOOK_CHANGES = 1
    answer = send(owner, NEW, url=forge.receiver.url("/kept"), everything="on")
    assert "Too many changes in a short time." in text_of(answer)
    assert fields_of(answer.content.decode())["url"] == [forge.receiver.url("/kept")]
    assert Webhook.objects.count() == 1


def test_changes_of_a_session_are_limited_as_those_of_a_key(forge: Forge, owner: Client, settings: Any) -> None:
    fields = {**fields_of(shown(owner, NEW)), "url": forge.receiver.url("/"), "everything": "on"}
    settings.HOOKHUB_REQUESTS_PER_KEY = 1
    assert owner.post(NEW, {**fields, "url": ""}).status_code == 422

    answer = owner.post(NEW, fields)

    assert answer.status_code == 429
    assert int(answer["Retry-After"]) > 0
    assert "Too many changes in a short time" in text_of(answer)
    assert not Webhook.objects.exists()
    assert shown(owner, NEW)


def test_a_session_for_certain_webhooks_creates_none(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    owner = visitor(caller, role="manage", scope={"webhooks": [str(webhook.uid)]})
    page = shown(owner, "/portal/")

    assert NEW not in page
    assert "This session may look only" in shown(owner, NEW, status=403)
    assert owner.post(NEW, {"form_token": hidden(page, "form_token")}).status_code == 403


def test_every_format_and_every_proof_is_explained() -> None:
    assert EXPLANATIONS.keys() == FORMATS.keys()
    assert VERIFY.keys() == {"", *OWNERS}


def test_hundreds_of_event_types_are_offered_in_groups(
    forge: Forge, owner: Client, django_assert_max_num_queries: Any
) -> None:
    Organization.objects.filter(pk=forge.organization.pk).update(default_dialect="social-gateway")
    for n in range(150):
        fields = {"type": f"shop{n % 3}.event{n}", "description": f"Number {n}"}
        registry.register(fields, organization=forge.organization, now=timezone.now())

    with django_assert_max_num_queries(6):
        page = shown(owner, NEW)

    assert page.count('name="types"') == 150 + 75
    assert "Number 149" in page
    assert page.count("<details") == 4
    assert "<details open>" not in page


# Changing -------------------------------------------------------------------------------------------------------------


def test_only_what_was_changed_is_changed(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(
        now=now, name="old", events=["push", "my.type"], path="/x?key=k3y", retry_schedule=[90, 3600], timeout=7,
        headers={"X-A": "a", "X-B": "b"}, max_in_flight=4, rate_limit={"requests": 25, "per": 5},
    )  # fmt: skip
    before = stored(webhook)
    page = shown(owner, address_of(webhook))
    assert fields_of(page)["waits"] == ["90 s, 1 h"]
    assert "k3y" not in page

    answer = send(owner, address_of(webhook), name="new")

    after = stored(webhook)
    assert (answer.status_code, answer["Location"]) == (302, f"/portal/webhooks/{webhook.uid}")
    assert after.name == "new"
    unchanged = (
        "events",
        "retry_schedule",
        "timeout",
        "max_in_flight",
        "rate_limit",
        "format",
        "content_type",
        "verify_ssl",
        "proof",
    )
    assert [getattr(after, name) for name in unchanged] == [getattr(before, name) for name in unchanged]
    assert (after.url, vault.headers_of(after)) == (before.url, {"X-A": "a", "X-B": "b"})
    assert vault.secrets_of(after) == vault.secrets_of(before)
    assert AuditEntry.objects.filter(action="webhook.updated").count() == 1
    assert send(owner, address_of(webhook)).status_code == 302
    assert stored(webhook).changed_at == after.changed_at


def test_the_rate_is_limited_shown_and_set_free(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    page = f"/portal/webhooks/{webhook.uid}"
    assert "Rate limit" not in shown(owner, page)

    assert send(owner, address_of(webhook), rate_requests="25", rate_per="5").status_code == 302
    assert stored(webhook).rate_limit == (25, 5)
    assert "<dt>Rate limit</dt><dd>25 requests in 5 s</dd>" in shown(owner, page)
    fields = fields_of(shown(owner, address_of(webhook)))
    assert (fields["rate_requests"], fields["rate_per"]) == (["25"], ["5"])

    assert send(owner, address_of(webhook), rate_per="50").status_code == 302
    assert stored(webhook).rate_limit == (25, 50)
    assert send(owner, address_of(webhook), rate_requests="").status_code == 302
    assert stored(webhook).rate_limit is None


def test_a_limit_that_was_changed_meanwhile_is_told(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, rate_limit={"requests": 10, "per": 1})
    fields = fields_of(shown(owner, address_of(webhook)))
    changing.change(webhook.pk, {"rate_limit": {"requests": 30, "per": 60}}, now=now + timedelta(minutes=1))

    answer = owner.post(address_of(webhook), {**fields, "rate_requests": "20"})

    assert answer.status_code == 409
    assert re.search(r"Rate limit, in requests\W.*30.*In so many seconds\W.*60", text_of(answer), re.DOTALL)
    assert stored(webhook).rate_limit == (30, 60)


def test_headers_are_added_and_removed_without_knowing_the_others(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Keep": "k33p", "X-Drop": "dr0p", "X-Replace": "old"})
    page = shown(owner, address_of(webhook))
    assert "k33p" not in page

    added = {"header_name": ["x-replace", "X-New"], "header_value": ["new", "n3w"]}
    answer = send(owner, address_of(webhook), remove_header=["X-Drop"], **added)

    assert answer.status_code == 302
    assert vault.headers_of(stored(webhook)) == {"X-Keep": "k33p", "x-replace": "new", "X-New": "n3w"}


def test_another_receiver_gets_another_secret_and_no_headers(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, headers={"X-Key": "k3y"})
    [old] = vault.secrets_of(stored(webhook))

    answer = send(owner, address_of(webhook), url=forge.receiver.url("/moved"))

    [new] = vault.secrets_of(stored(webhook))
    assert new.text != old.text
    assert f">{new.text}</pre>" in text_of(answer)
    assert vault.headers_of(stored(webhook)) == {}
    kept = forge.webhook(now=now, headers={"X-Key": "k3y"})
    refused = send(owner, address_of(kept), url=forge.receiver.url("/moved"), header_name=["X-New"], header_value=["n"])
    assert "The value of X-Key is masked, but the URL changed; send the value itself." in text_of(refused)
    assert stored(kept).url == kept.url


def test_a_form_that_has_not_seen_a_change_does_not_undo_it(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, name="first", headers={"X-A": "a"})
    first, second = (fields_of(shown(owner, address_of(webhook))) for _ in range(2))
    owner.post(address_of(webhook), {**first, "name": HOSTILE, "types": ["push"]})

    stale = owner.post(address_of(webhook), {**second, "timeout": "3"})

    page = stale.content.decode()
    assert stale.status_code == 409
    assert "the webhook has been changed since this page was loaded" in page
    assert HOSTILE not in page
    assert "&lt;script&gt;" in page
    assert (stored(webhook).name, stored(webhook).timeout) == (HOSTILE, None)
    assert owner.post(address_of(webhook), fields_of(page)).status_code == 302
    assert (stored(webhook).name, stored(webhook).timeout) == ("first", timedelta(seconds=3))
    for forged in ("", "x", "2001-01-01T00:00:00"):
        assert send(owner, address_of(webhook), name="forged", version=forged).status_code == 409


def test_a_change_of_format_keeps_no_body_that_it_does_not_know(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="github", content_type="form")

    assert send(owner, address_of(webhook), format="social-gateway").status_code == 302
    assert (stored(webhook).format, stored(webhook).content_type) == ("social-gateway", "form")
    assert send(owner, address_of(webhook), format="slack", url="https://hooks.slack.com/x").status_code == 302
    assert (stored(webhook).format, stored(webhook).content_type) == ("slack", "json")
    assert "hooks.slack.com/x" not in shown(owner, address_of(webhook))


@pytest.mark.parametrize("page", ["settings", "secret"])
def test_what_is_not_in_the_session_is_not_found(forge: Forge, caller: Caller, now: datetime, page: str) -> None:
    seen, other = forge.webhook(now=now), forge.webhook(now=now, path="/other", name="other")
    foreign = Forge.make(forge.receiver, "globex").webhook(now=now)
    owner = visitor(caller, role="manage", scope={"webhooks": [str(seen.uid)]})
    token = hidden(shown(owner, "/portal/"), "form_token")

    for webhook in (other, foreign):
        before = Webhook.objects.filter(pk=webhook.pk).values().get()
        assert owner.get(address_of(webhook, page)).status_code == 404
        assert owner.post(address_of(webhook, page), {"form_token": token, "name": "mine"}).status_code == 404
        assert Webhook.objects.filter(pk=webhook.pk).values().get() == before


def test_who_may_only_look_sees_no_form_and_sends_none(forge: Forge, caller: Caller, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    reader = visitor(caller)
    page = shown(reader, f"/portal/webhooks/{webhook.uid}")
    token = hidden(page, "form_token")
    before = Webhook.objects.values().get()

    assert "/settings" not in page
    assert NEW not in shown(reader, "/portal/")
    for address in (NEW, address_of(webhook), address_of(webhook, "secret")):
        assert reader.get(address).status_code == 403
        assert reader.post(address, {"form_token": token, "name": "x"}).status_code == 403
    assert Webhook.objects.values().get() == before


@pytest.mark.parametrize("token", [None, "", "x" * 64])
def test_another_site_changes_nothing(forge: Forge, owner: Client, now: datetime, token: str | None) -> None:
    webhook = forge.webhook(now=now)
    before = Webhook.objects.values().get()

    for address in (NEW, address_of(webhook), address_of(webhook, "secret")):
        fields = {**fields_of(shown(owner, address)), "name": "x", "url": forge.receiver.url("/"), "everything": "on"}
        del fields["form_token"]
        assert owner.post(address, fields if token is None else {**fields, "form_token": token}).status_code == 403
    assert Webhook.objects.values().get() == before


def test_subscriptions_of_other_doors_say_who_else_changes_them(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="websub")
    Webhook.objects.update(subscription={"topic": "http://t", "hub": "http://h"}, proof="websub", verified_at=now)

    page = shown(owner, address_of(webhook))
    answer = owner.post(address_of(webhook), {**fields_of(page), "name": "named", "verify": ""})

    assert "has subscribed at the hub" in page
    assert 'name="verify"' not in page
    assert answer.status_code == 302
    assert (stored(webhook).name, stored(webhook).proof) == ("named", "websub")


# The secret -----------------------------------------------------------------------------------------------------------


def test_a_secret_is_rotated_once_per_form_and_shown_once(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    [old] = vault.secrets_of(stored(webhook))
    address = address_of(webhook, "secret")
    fields = {**fields_of(shown(owner, address)), "overlap": "3600"}

    answer = owner.post(address, fields)

    new, previous = vault.secrets_of(stored(webhook))
    assert previous.text == old.text
    assert previous.expires_at is not None
    assert timedelta(minutes=59) < previous.expires_at - timezone.now() <= timedelta(hours=1)
    assert f">{new.text}</pre>" in text_of(answer)
    assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")
    assert AuditEntry.objects.get(action="webhook.secret_rotated").actor_kind == "portal"
    again = owner.post(address, fields)
    assert again.status_code == 409
    assert new.text not in again.content.decode()
    assert len(vault.secrets_of(stored(webhook))) == 2
    assert "They are also signed with the previous one" in shown(owner, address)


def test_a_secret_of_ones_own_is_checked_and_not_written_back(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="github", secret="first-secret")
    address = address_of(webhook, "secret")
    own = "<b>own-secret-typed"

    wrong = send(owner, address, secret="\tno")
    assert wrong.status_code == 422
    assert "\tno" not in wrong.content.decode()
    assert [each.text for each in vault.secrets_of(stored(webhook))] == ["first-secret"]
    assert "&lt;b&gt;own-secret-typed</pre>" in send(owner, address, secret=own, overlap="0").content.decode()
    assert [each.text for each in vault.secrets_of(stored(webhook))] == [own]

    fields = {
        "form_token": hidden(shown(owner, address), "form_token"),
        "version": hidden(shown(owner, address), "version"),
    }
    assert "requests are not signed" in text_of(owner.post(address, {**fields, "remove": "1"}))
    assert vault.secrets_of(stored(webhook)) == ()
    assert "Make a secret" in shown(owner, address)


def test_a_format_without_signatures_says_so(forge: Forge, owner: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now, format="slack")
    page = shown(owner, address_of(webhook, "secret"))

    assert "does not sign requests" in page
    assert "Rotate" not in page
    forged = {"form_token": hidden(page, "form_token"), "version": secrets.version_of(stored(webhook))}
    answer = owner.post(address_of(webhook, "secret"), forged)
    assert (answer.status_code, vault.secrets_of(stored(webhook))) == (422, ())
    assert "Cannot be rotated: the format slack does not sign requests." in text_of(answer)


def test_hostile_text_of_others_is_escaped_in_the_forms(forge: Forge, owner: Client, now: datetime) -> None:
    fields = {"type": "my.type", "description": HOSTILE}
    registry.register(fields, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, name=HOSTILE, path="/<script>alert(1)</script>", events=["*"])

    for address in (NEW, address_of(webhook), address_of(webhook, "secret")):
        page = shown(owner, address)
        assert HOSTILE not in page
