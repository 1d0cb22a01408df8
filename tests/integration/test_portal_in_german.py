"""The portal in German: every page and every error of it, but neither the API, nor e-mails, nor any later page."""

import re
from datetime import datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone, translation

from deliveries import formats, redelivery, timeseries
from deliveries.event_types import catalogue
from deliveries.models import AuditEntry, Delivery, Webhook
from deliveries.sending.sender import Sender
from deliveries.systems import DEFAULT
from deliveries.webhooks import lifecycle
from hookhub.alerts import channels, sending
from hookhub.models import Alert, AlertChannel, AlertKind
from hookhub.portal.snippets import LANGUAGES
from tests import messages
from tests.api import Caller, faults
from tests.integration.test_portal_webhooks import fields_of
from tests.portal import shown, token_of, visitor
from tests.receiver import Answer
from tests.story import Forge, claim_due, deliver_due

pytestmark = pytest.mark.django_db

PAGES = [
    "",
    "webhooks/new",
    "deliveries",
    "event-types",
    "event-types/ping",
    "activity",
    "alerts",
    "alerts/new",
    "none",
]
OF_WEBHOOK = ["", "/settings", "/disable", "/delete", "/deliveries", "/never-sent"]
OF_EACH_WEBHOOK = ["/secret", "/test", "/enable", "/verification"]
SEEN = {"aria-label", "title", "alt", "placeholder"}
# Code, and values of the log.
CODE = {"code", "pre", "textarea", "style", "script", "ins", "del"}
# Names of the test's own, addresses, ids, times, and code.
DATA = re.compile(
    r"x-.*|acme.*|widgets|https?://.*|[0-9a-f-]{36}|[0-9-]+ [0-9:]+ UTC|(in )?\d+ (ms|s|min|h),?|\(1 min, .*\)"
    r"|push, issues\.opened|issues\.opened|4xx|X-Name|(webhook-id|X-Hub-Signature): .*",
    re.DOTALL,
)


class Texts(HTMLParser):
    """Collects what a reader sees of a page, without code."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.found: list[str] = []
        self._code: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in CODE:
            self._code.append(tag)
        self.found += [value for name, value in attrs if name in SEEN and value]

    def handle_endtag(self, tag: str) -> None:
        if tag in CODE:
            self._code.remove(tag)

    def handle_data(self, data: str) -> None:
        if not self._code:
            self.found.append(" ".join(data.split()))


def names_in_both() -> set[str]:
    """Return what the pages call the same in both languages: names of formats, programs and event types."""
    of_types = {each for name in catalogue.of(DEFAULT).types for each in (name, name.partition(".")[0])}
    of_catalogue = {each.id for each in messages.catalogue("de") if each.id and each.id == each.string}
    return {*of_types, *of_catalogue, *(title for _, title in formats.choices()), *map(str, LANGUAGES.values()), "JSON"}


def english_on(german: str, english: str) -> set[str]:
    """Return the texts of a German page that are those of the English one, but for names and data."""
    first, second = Texts(german).found, Texts(english).found
    assert len(first) == len(second)
    same = {one for one, other in zip(first, second, strict=True) if one == other and re.search("[A-Za-z]{2}", one)}
    return {text for text in same - names_in_both() if not DATA.fullmatch(text)}


@pytest.fixture
def owners(caller: Caller) -> tuple[Client, Client]:
    """Return the browsers of a German and of an English session."""
    return visitor(caller, role="manage", locale="de"), visitor(caller, role="manage", locale="en")


def make_webhooks(forge: Forge, *, now: datetime) -> dict[str, Webhook]:
    fields: dict[str, dict[str, Any]] = {
        "good": {"headers": {"X-Token": "t"}, "repository": forge.repository},
        "failing": {},
        "refused": {"format": "websub"},
        "unverified": {"verify": "challenge"},
        "off": {"events": ["push", "issues.opened"]},
        "chat": {"format": "slack", "events": ["ping"]},
        "ended": {"expires_at": now + timedelta(days=1)},
    }
    return {name: forge.webhook(now=now, name=f"x-{name}", path=f"/{name}", **each) for name, each in fields.items()}


def deliver_in_every_way(forge: Forge, hooks: dict[str, Webhook], sender: Sender, *, now: datetime) -> None:
    """Let there be deliveries and attempts of every state."""
    answers = {"/good": (200,), "/failing": (404, 301, 410), "/refused": (500, 429, 413)}
    forge.receiver.answers |= {path: [Answer(status) for status in each] for path, each in answers.items()}
    forge.accept(3, now=now)
    deliver_due(sender, now=now)
    forge.accept(3, now=now)
    claim_due(1, now=now)
    redelivery.cancel([Delivery.objects.filter(webhook=hooks["good"], state="pending").latest("pk").pk], now=now)
    lifecycle.disable(hooks["off"].pk, now=now)
    Webhook.objects.filter(pk=hooks["ended"].pk).update(expires_at=now - timedelta(minutes=1))
    assert set(Delivery.objects.values_list("state", flat=True)) == set(Delivery.State.values)


def alert_in_every_way(forge: Forge, about: Webhook, *, now: datetime) -> None:
    for kind in AlertChannel.Type.values:
        where = {} if kind == "email" else {"url": forge.receiver.url("/alerts")}
        made = channels.create({"type": kind, **where}, organization=forge.organization, now=now).channel
        channels.send_test(made, now=now)
    for kind, state in zip(AlertKind.values, [*Alert.State.values, "sent"], strict=True):
        Alert.objects.create(
            organization=forge.organization,
            webhook=about,
            channel_type=Alert.OWNERS,
            kind=kind,
            state=state,
            created_at=now,
            finished_at=None if state == "pending" else now,
        )


def test_every_page_is_german(forge: Forge, owners: tuple[Client, Client], sender: Sender) -> None:
    now = timezone.now()
    hooks = make_webhooks(forge, now=now)
    deliver_in_every_way(forge, hooks, sender, now=now)
    alert_in_every_way(forge, hooks["good"], now=now)
    pages = [
        *PAGES,
        *(f"webhooks/{hooks['good'].uid}{page}" for page in OF_WEBHOOK),
        *(f"webhooks/{hook.uid}{page}" for hook in hooks.values() for page in OF_EACH_WEBHOOK),
        *(f"deliveries/{each.pk}" for each in Delivery.objects.distinct("state", "last_status")),
        *(f"alert-channels/{each.pk}" for each in AlertChannel.objects.all()),
        "deliveries?state=x&status=x&after=x&before=x&webhook=x",
        "deliveries?after=2026-03-04T12:00&before=2026-03-04T11:00&webhook=01a22a60-598b-7010-b11d-93d5e03d9497",
    ]

    found: dict[str, str] = {}
    for page in pages:
        german, english = [browser.get(f"/portal/{page}").content.decode() for browser in owners]
        assert '<html lang="de"' in german
        found |= dict.fromkeys(english_on(german, english), page)

    assert found == {}


# label: (the form's page, what is typed in it)
WRONG: dict[str, tuple[str, dict[str, Any]]] = {
    "an empty webhook": ("webhooks/new", {"url": ""}),
    "no event types": ("webhooks/new", {"url": "https://x.example/", "types": [], "everything": []}),
    "many fields": (
        "webhooks/new",
        {
            "url": "ftp://x.example/",
            "name": "a\u202eb",
            "patterns": "a..b",
            "timeout": "0",
            "max_in_flight": "0",
            "rate_requests": "0",
            "rate_per": "0",
            "secret": "short",
            "retries": "own",
            "waits": "8 d",
            "format": "github",
        },
    ),
    "a URL of the inside": ("webhooks/new", {"url": "http://169.254.169.254/", "everything": "on"}),
    "a port of a database": ("webhooks/new", {"url": "https://x.example:5432/", "everything": "on"}),
    "an end in the past": (
        "webhooks/new",
        {"url": "https://x.example/", "everything": "on", "expires_at": "2020-01-01T00:00"},
    ),
    "a wait that is none": ("webhooks/new", {"url": "https://x.example/", "retries": "own", "waits": "soon"}),
    "a rate that is too high": (
        "webhooks/new",
        {"url": "https://x.example/", "everything": "on", "rate_requests": "99999"},
    ),
    "numbers that are none": ("webhooks/new", {"url": "https://x.example/", "timeout": "x", "max_in_flight": "x"}),
    "a header of the connection": (
        "webhooks/new",
        {"url": "https://x.example/", "everything": "on", "header_name": ["Host"], "header_value": ["x"]},
    ),
    "an unknown repository": ("webhooks/new", {"url": "https://x.example/", "everything": "on", "repository": "none"}),
    "an outdated form": ("webhooks/new", {"url": "https://x.example/", "everything": "on", "draft": "x"}),
    "a change meanwhile": ("webhooks/{}/settings", {"name": "x-new", "version": "2020-01-01T00:00:00+00:00"}),
    "a secret of another form": ("webhooks/{}/secret", {"secret": "x"}),
    "an outdated secret": ("webhooks/{}/secret", {"version": "x"}),
    "no JSON": ("webhooks/{}/test", {"payload": "{", "send": "1"}),
    "another ping": ("webhooks/{}/test", {"type": "ping", "payload": "{}", "send": "1"}),
    "no signature": ("webhooks/{}/verification", {"headers": "", "body": "{}", "secret": ""}),
    "a wrong signature": (
        "webhooks/{}/verification",
        {
            "headers": f"webhook-id: 1\nwebhook-timestamp: 1\nwebhook-signature: v1,{'A' * 43}=",
            "body": "{}",
            "secret": "",
        },
    ),
    "no address": ("alerts/new", {"type": "email", "recipients": "x"}),
    "no URL": ("alerts/new", {"type": "slack", "kinds": []}),
    "addresses for Slack": ("alerts/new", {"type": "slack", "url": "https://x.example/", "recipients": "a@b.example"}),
    "nothing selected": ("deliveries/redeliver", {}),
    "no session's form": ("webhooks/{}/disable", {"form_token": "x"}),
}


def test_every_error_is_german(forge: Forge, owners: tuple[Client, Client]) -> None:
    hook = forge.webhook(now=timezone.now(), name="x-good")
    found = {}

    for label, (page, typed) in WRONG.items():
        address = f"/portal/{page.format(hook.uid)}"
        pages = []
        for browser in owners:
            form = shown(browser, "/portal/alerts/new" if page == "deliveries/redeliver" else address)
            big = fields_of(form) if 'class="edit">' in form else {"form_token": token_of(form)}
            answer = browser.post(address, {**big, **typed})
            assert answer.status_code in {200, 403, 409, 422}, label
            pages.append(answer.content.decode())
        if english := english_on(*pages):
            found[label] = english

    assert found == {}


# The language ---------------------------------------------------------------------------------------------------------

# label: (of the session, of the browser, of the page)
LANGUAGES_OF = {
    "of the session": ("de", "en", "de"),
    "of the session, against the browser's": ("en", "de", "en"),
    "of the browser": (None, "de-AT,de;q=0.9,en;q=0.5", "de"),
    "of no browser's": (None, "", "en"),
    "one that there is not": (None, "fr", "en"),
    "one that there is, after another": (None, "fr,de;q=0.5", "de"),
}


@pytest.mark.parametrize(("session", "browser", "page"), LANGUAGES_OF.values(), ids=LANGUAGES_OF)
def test_a_page_speaks_the_language_of_its_session_or_browser(
    caller: Caller, session: str | None, browser: str, page: str
) -> None:
    owner = visitor(caller, **({} if session is None else {"locale": session}))

    answer = owner.get("/portal/deliveries", headers={"Accept-Language": browser})

    text = answer.content.decode()
    assert f'<html lang="{page}"' in text
    assert ("Keine Zustellungen." in text, "No deliveries." in text) == (page == "de", page == "en")


def test_pages_outside_of_a_session_speak_the_browser_s_language(caller: Caller) -> None:
    german = {"Accept-Language": "de"}

    assert "Ihre Sitzung ist beendet" in Client().get("/portal/", headers=german).content.decode()
    used = Client().get("/portal/enter?token=used", headers=german)
    assert "Dieser Link wurde schon verwendet" in used.content.decode()


def test_no_other_page_or_answer_becomes_german(
    forge: Forge, caller: Caller, owners: tuple[Client, Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    german, english = owners
    headers = {"Accept-Language": "de"}

    assert "Hier ist nichts" in german.get("/portal/none").content.decode()
    with monkeypatch.context() as broken:
        broken.setattr(timeseries, "hourly_counts", None)
        with pytest.raises(TypeError):
            german.get("/portal/")

    assert translation.get_language() == "en"
    assert "There is nothing here" in english.get("/portal/none", headers=headers).content.decode()
    refused = caller.send("POST", "/v1/webhooks", {"url": "ftp://x.example/", "events": ["*"]}, headers=headers)
    assert faults(refused) == {"url": "The URL must begin with https:// or http://."}
    assert '<html lang="en' in Client().get("/admin/login/", headers=headers).content.decode()


def test_the_portal_explains_in_german_and_the_api_in_english(
    forge: Forge, caller: Caller, owners: tuple[Client, Client], sender: Sender
) -> None:
    now = timezone.now()
    forge.webhook(now=now)
    forge.receiver.answers["/"] = [Answer(404)]
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()

    page = owners[0].get(f"/portal/deliveries/{delivery.pk}").content.decode()
    answer = caller.send("GET", f"/v1/deliveries/{delivery.pk}", None, headers={"Accept-Language": "de"})

    assert "Der Empfänger kennt diese Adresse nicht (404)." in page
    assert "Nächster Versuch in" in page
    assert "The receiver knows nothing at this address (404)." in answer.content.decode()


def test_what_a_german_session_causes_is_written_in_english(forge: Forge, owners: tuple[Client, Client]) -> None:
    now = timezone.now()
    german = owners[0]
    fields = {"type": "email", "recipients": ["ops@acme.example"]}
    channel = channels.create(fields, organization=forge.organization, now=now).channel
    token = {"form_token": token_of(shown(german, "/portal/alerts"))}

    assert german.post(f"/portal/alert-channels/{channel.pk}/test", token).status_code == 302
    assert sending.send_due(now=timezone.now()) == 1

    [message] = mail.outbox
    assert "test" in message.subject.lower()
    assert not re.search(r"[äöüß]|\b(der|die|das|ein|eine)\b", f"{message.subject} {message.body}".lower())
    assert Alert.objects.get().channel_name == "e-mail"
    assert set(AuditEntry.objects.filter(target_kind="alert_channel").values_list("target_label", flat=True)) == {
        "e-mail"
    }
