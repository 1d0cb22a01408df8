"""Every address of the portal, asked for by those who may not, with forged ids, and with what no browser sends."""

import json
import re
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any
from urllib.parse import quote

import pytest
from django.contrib.auth.models import User
from django.db.models import Model
from django.test import Client
from django.test.client import BOUNDARY, MULTIPART_CONTENT, encode_multipart
from django.urls import URLPattern
from django.utils import timezone

from deliveries.db.ids import uuid7
from deliveries.models import Attempt, AuditEntry, Delivery, Organization, Repository, Verification, Webhook
from deliveries.redelivery import Selection
from deliveries.sending.sender import Sender
from deliveries.webhooks import lifecycle
from hookhub import replays
from hookhub.alerts import channels
from hookhub.event_types import registry
from hookhub.models import Alert, AlertChannel, CustomEventType, Membership, PortalSession, PortalSettings, Replay
from hookhub.portal import urls
from tests.api import Caller
from tests.pages import Page, read_policy
from tests.portal import ask, path_of, shown, token_of, visitor
from tests.receiver import Answer
from tests.story import Forge, counted_statements, deliver_due

pytestmark = pytest.mark.django_db

HOSTILE = "\"'><script>alert(1)</script>"
# What no page of another scope may show.
MARK = "zebra"
STORED: tuple[type[Model], ...] = (Webhook, Delivery, Replay, AlertChannel, Alert, Verification, PortalSession)
ROUTES = [route for route in urls.urlpatterns if isinstance(route, URLPattern) and route.name]
# They open and end sessions, or create what no form can name yet: other tests are about these.
OTHERS = {"enter", "leave", "members", "new-webhook", "alert-channel-new"}
SIGNED = {"webhook-id": "\ud800", "webhook-timestamp": "1772625600",
          "webhook-signature": "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="}  # fmt: skip


@dataclass(frozen=True)
class Things:
    """What an address, or a form, can name: one of each."""

    webhook: Webhook
    delivery: Delivery
    replay: Replay
    channel: AlertChannel
    type: str

    def address(self, route: URLPattern) -> str:
        """Return the address of a route, about these things."""
        pattern = str(route.pattern)
        uid = {"deliveries/": self.delivery.pk, "replays/": self.replay.pk, "alert-channels/": self.channel.pk}
        named = next((value for start, value in uid.items() if pattern.startswith(f"{start}<")), self.webhook.uid)
        return "/portal/" + pattern.replace("<uuid:uid>", str(named)).replace("<str:name>", self.type)

    def fields(self) -> dict[str, Any]:
        """Return a form that names them wherever a form of the portal could, and wants everything."""
        return {
            "webhook": str(self.webhook.uid), "delivery": [str(self.delivery.pk)], "uid": str(self.webhook.uid),
            "draft": f"{uuid7(timezone.now())}.{'0' * 64}", "version": self.webhook.changed_at.isoformat(),
            "url": self.webhook.url, "name": "forged", "types": ["*"], "everything": "on",
            "format": "standard-webhooks", "retries": "default", "since": "30d", "held": "cancel", "send": "1",
            "type": self.type, "payload": "{}",
            "overlap": "0", "kinds": ["disabled"], "from_percent": "50", "recipients": "a@example.com",
            "query": "state=failed", "secret": "", "headers": json.dumps(SIGNED), "body": "{}",
            "repository": self.webhook.repository.name if self.webhook.repository else "",
        }  # fmt: skip


def things(forge: Forge, sender: Sender, *, now: datetime, text: str, name: str) -> Things:
    """Create a webhook with a failed delivery and everything else, with a text wherever one can be written."""
    repository = Repository.objects.create(organization=forge.organization, name=name)
    own = Forge(forge.organization, repository, forge.receiver)
    webhook = own.webhook(
        now=now, path=f"/{name}?q={quote(text)}", name=text, repository=repository, headers={"X-Mine": text}
    )
    forge.receiver.answers[f"/{name}?q={quote(text)}"] = [Answer(404, {"X-Why": text}, text.encode())]
    own.accept(now=now, data={"title": text})
    deliver_due(sender, now=now)
    kind = f"my.{name}"
    fields: dict[str, Any] = {"type": kind, "description": text, "example": {"a": text}, "schema": {"title": text}}
    registry.register(fields, organization=forge.organization, now=now)
    selection = Selection(forge.organization.pk, webhook_id=webhook.pk, states=("failed",))
    replay = replays.start(forge.organization, selection=selection, now=now)
    fields = {"type": "webhook", "name": text, "url": own.receiver.url(f"/{name}"), "repository": repository}
    channel = channels.create(fields, organization=forge.organization, now=now).channel
    alert = channels.send_test(channel, now=now)
    AlertChannel.objects.filter(pk=channel.pk).update(last_error=text, failing_since=now)
    Alert.objects.filter(pk=alert.pk).update(error=text, webhook=webhook)
    Attempt.objects.filter(delivery_id__in=Delivery.objects.filter(webhook=webhook)).update(error=text)
    return Things(webhook, Delivery.objects.get(webhook=webhook), replay, channel, kind)


def state_of_everything() -> list[Any]:
    """Return all that a form of the portal can change, but for what a session does to itself."""
    return [list(model.objects.order_by("pk").values_list()) for model in STORED] + [AuditEntry.objects.count()]


def test_foreign_ids_in_addresses_and_forms_show_and_change_nothing(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    globex = Forge.make(forge.receiver, "globex")
    own = things(forge, sender, now=now, text="own", name="own")
    foreign = [
        things(globex, sender, now=now, text=f"{MARK} tenant", name=f"{MARK}-tenant"),
        things(forge, sender, now=now, text=f"{MARK} neighbour", name=f"{MARK}-neighbour"),
    ]
    deleted = things(forge, sender, now=now, text="gone", name="gone")
    lifecycle.delete(deleted.webhook.pk, now=now)
    caller = Caller.of(forge.organization)
    narrow: list[dict[str, Any]] = [{"scope": {"repository": "own"}}, {"scope": {"webhooks": [str(own.webhook.uid)]}}]
    cases = [({}, foreign[:1]), *((scope, [*foreign, deleted]) for scope in narrow)]

    for scope, hidden in cases:
        browser = visitor(caller, role="manage", **scope)
        token = token_of(shown(browser, "/portal/"))
        before = state_of_everything()
        for each, route in product(hidden, ROUTES):
            address = each.address(route)
            # The types of events are the whole organization's.
            is_hidden = "<" in str(route.pattern) and (each is foreign[0] or route.name != "event-type")
            for method in ("get", "head", "options", "put", "delete") if each is foreign[0] and not scope else ("get",):
                answer = getattr(browser, method)(address)
                assert answer.status_code in {404, 405} or not is_hidden, (method, address)
                assert answer.status_code < 500, (method, address)
                assert f"{MARK} " not in answer.content.decode() or not is_hidden, address
            if route.name not in OTHERS:
                answer = browser.post(address, {**own.fields(), **each.fields(), "form_token": token})
                assert answer.status_code in ({404, 405} if is_hidden else {200, 404, 405}), address
                assert f"{MARK} " not in answer.content.decode(), address
        assert state_of_everything() == before


def test_who_may_only_look_sees_no_form_and_changes_nothing(forge: Forge, sender: Sender, now: datetime) -> None:
    own = things(forge, sender, now=now, text="own", name="own")
    browser = visitor(Caller.of(forge.organization), role="read")
    token = token_of(shown(browser, "/portal/"))
    before = state_of_everything()

    for route in ROUTES:
        # Of the look, a session that a link opens has no page at all.
        if route.name in {"enter", "leave", "members", "look"}:
            continue
        answer = browser.get(own.address(route))
        assert answer.status_code in {200, 403, 405}, route
        posts = re.findall(r'<form method="post" action="([^"]*)"', answer.content.decode())
        assert [action.rpartition("/")[2] for action in posts if not action.endswith("#check")] == (
            [] if answer.status_code == 405 else ["leave"]
        ), route
        sent = browser.post(own.address(route), {**own.fields(), "form_token": token})
        assert sent.status_code in {403, 405} or route.name == "verification", route
        assert state_of_everything() == before, route


def test_every_page_of_a_session_that_ended_says_so(forge: Forge, sender: Sender, now: datetime) -> None:
    own = things(forge, sender, now=now, text=MARK, name="own")
    browser = visitor(Caller.of(forge.organization), role="manage")
    token = token_of(shown(browser, "/portal/"))
    PortalSession.objects.update(revoked_at=timezone.now())
    before = state_of_everything()

    for route in ROUTES:
        if route.name in {"enter", "members"}:
            continue
        for answer in (
            browser.get(own.address(route)),
            browser.post(own.address(route), {**own.fields(), "form_token": token}),
        ):
            assert answer.status_code in {401, 405}, route
            assert MARK not in answer.content.decode(), route
            assert answer.status_code == 405 or answer["Cache-Control"] == "no-store"
    assert state_of_everything() == before


def test_no_text_of_a_stranger_is_markup_on_any_page(forge: Forge, sender: Sender, now: datetime) -> None:
    own = things(forge, sender, now=now, text=HOSTILE, name="own")
    registry.change(CustomEventType.objects.get(), {"description": HOSTILE}, now=now)
    Organization.objects.filter(pk=forge.organization.pk).update(name=HOSTILE)
    PortalSettings.objects.create(organization=forge.organization, product_name=HOSTILE)
    browser = visitor(Caller.of(forge.organization), role="manage", return_url=f"https://a.example/?{quote(HOSTILE)}")
    token = token_of(shown(browser, "/portal/"))
    escaped = set()

    for route in ROUTES:
        if route.name in {"enter", "leave", "members"}:
            continue
        got = browser.get(own.address(route), dict.fromkeys(("text", "type", "state", "after", "status"), HOSTILE))
        sent = None
        if route.name not in {"delete", "alert-channel-delete", "disable"}:
            fields = dict.fromkeys(own.fields(), HOSTILE) | {"header_name": HOSTILE, "form_token": token}
            sent = browser.post(own.address(route), fields)
        for answer in filter(None, (got, sent)):
            page = answer.content.decode()
            assert answer.status_code < 500, route
            assert "<script>alert" not in page, route
            parsed = Page(read_policy(answer.get("Content-Security-Policy", "")), origin="http://testserver")
            parsed.feed(page)
            # The page of a replay loads itself again while it runs.
            assert set(parsed.breaches) <= {"<meta http-equiv=refresh>"}, route
            # The name of the product is on each page; it must not be all that was tried.
            if page.count("&lt;script&gt;") > 1:
                escaped.add(route.name)
    assert {"overview", "webhook", "delivery", "all-deliveries", "event-types", "event-type", "activity", "alerts",
            "webhook-settings", "new-webhook", "test", "secret", "verification",
            "alert-channel"} <= escaped  # fmt: skip


ODD = ["-1", "9" * 5000, "\u0663", "1e999", "x" * 5000, "[" * 50_000, '{"a": 1e999}', "\\ud800", "%00%s",
       "ffffffff-ffff-ffff-ffff-ffffffffffff", "1970-01-01T00:00+23:59", "9999-12-31T23:59:59-23:59",
       "0001-01-01T00:00:00+23:59", "999999999.9 d", "\0"]  # fmt: skip
PARAMETERS = ("page", "period", "older", "newer", "webhook", "state", "type", "after", "before", "status", "text",
              "since", "token")  # fmt: skip
# All fields of a form are odd at once, and each of these also for itself.
FORMS = {
    "webhook-settings": (
        "timeout", "max_in_flight", "rate_requests", "rate_per", "waits", "expires_at", "version", "header_name",
    ),
    "new-webhook": ("repository", "draft"),
    "secret": ("version",),
    "test": ("payload",),
    "verification": ("headers", "body"),
    "alert-channel": ("recipients",),
    "redeliver-selected": ("query",),
}  # fmt: skip


def test_no_query_is_an_error_of_the_server(forge: Forge, sender: Sender, now: datetime) -> None:
    own = things(forge, sender, now=now, text="own", name="own")
    browser = visitor(Caller.of(forge.organization), role="manage")
    routes = {own.address(route) for route in ROUTES if browser.get(own.address(route)).status_code != 405}
    for text in (text[:300] for text in ODD if text != "\0"):
        for address in routes:
            answer = browser.get(address, dict.fromkeys(PARAMETERS, text))
            # The login refuses to lead back to a very long address.
            assert answer.status_code in ({302, 400} if address.endswith("/members") else {200, 404, 410}), (
                address,
                text,
            )
        for name in PARAMETERS:
            assert browser.get("/portal/deliveries", {name: text}).status_code in {200, 404}, (name, text)
        for address in (f"/portal/webhooks/{text[:99]}", f"/portal/event-types/{quote(text[:99])}", "/portal/%0A"):
            assert browser.get(address).status_code in {301, 404}, address


def test_no_form_is_an_error_of_the_server(forge: Forge, sender: Sender, now: datetime) -> None:
    own = things(forge, sender, now=now, text="own", name="own")
    browser = visitor(Caller.of(forge.organization), role="manage")
    token = token_of(shown(browser, "/portal/"))
    draft = re.search(r'name="draft" value="([^"]*)"', shown(browser, "/portal/webhooks/new"))
    assert draft
    valid = {
        **own.fields(), "draft": draft[1], "retries": "own", "waits": "1 s", "form_token": token,
        "header_name": "X-A", "header_value": "1", "remove_header": "X-Mine",
    }  # fmt: skip
    for route, text in product(ROUTES, ODD):
        names = FORMS.get(str(route.name), ())
        if not names:
            continue
        version = Webhook.objects.get(pk=own.webhook.pk).changed_at.isoformat()
        odd = [{name: text} for name in names] + [dict.fromkeys(set(valid) - {"form_token", "draft"}, text)]
        for fields in odd:
            answer = browser.post(own.address(route), {**valid, "version": version, **fields})
            assert answer.status_code < 500, (route.name, list(fields), text[:50])


@pytest.mark.parametrize("charset", ["unicode_escape", "hex", "utf-7", "undefined"])
def test_no_content_type_is_an_error_of_the_server(forge: Forge, sender: Sender, now: datetime, charset: str) -> None:
    own = things(forge, sender, now=now, text="own", name="own")
    browser = visitor(Caller.of(forge.organization), role="manage")
    odd = {**own.fields(), "form_token": "\\ud800+2AA-", "secret": "\\ud800+2AA-", "name": "\\ud800+2AA-"}
    before = state_of_everything()

    for route in ROUTES:
        for content_type, body in (
            (f"{MULTIPART_CONTENT}; charset={charset}", encode_multipart(BOUNDARY, odd)),
            (f"application/x-www-form-urlencoded; charset={charset}", b"form_token=%ff&a=\xff"),
            ("multipart/form-data; boundary=", encode_multipart(BOUNDARY, odd)),
            ("application/json", b"{"),
        ):
            answer = browser.generic("POST", own.address(route), body, content_type=content_type)
            assert answer.status_code in {400, 403, 404, 405}, (route.name, content_type)
        answer = browser.generic("GET", own.address(route), b"", content_type=f"text/plain; charset={charset}")
        assert answer.status_code < 500, route.name
    assert state_of_everything() == before
    # With the token, the form is read: as UTF-8, whatever it says of itself.
    fields = {
        "form_token": token_of(shown(browser, "/portal/")),
        "secret": "\\ud800+2AA-",
        "headers": json.dumps(SIGNED),
    }
    answer = browser.generic(
        "POST", f"/portal/webhooks/{own.webhook.uid}/verification", encode_multipart(BOUNDARY, fields),
        content_type=f"{MULTIPART_CONTENT}; charset={charset}",
    )  # fmt: skip
    assert answer.status_code == 200


def test_a_form_of_ten_megabytes_is_refused_with_a_clear_status(forge: Forge, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    browser = visitor(Caller.of(forge.organization), role="manage")
    token = token_of(shown(browser, "/portal/"))
    for page, name in (("test", "payload"), ("verification", "body"), ("settings", "name")):
        fields = {"form_token": token, name: "x" * 10_000_000}
        answer = browser.post(f"/portal/webhooks/{webhook.uid}/{page}", fields)
        assert answer.status_code in {200, 400, 413, 422}, page
    many = "&".join(f"a{n}=1" for n in range(2000))
    answer = browser.generic("POST", "/portal/leave", many.encode(), content_type="application/x-www-form-urlencoded")
    assert answer.status_code in {400, 413}


# Entering -------------------------------------------------------------------------------------------------------------


def test_a_request_for_the_headers_alone_does_not_use_up_a_link(forge: Forge) -> None:
    link = path_of(ask(Caller.of(forge.organization))["url"])

    assert Client().head(link).status_code == 405
    assert Client().get(link).status_code == 302


def test_where_only_owners_may_read_webhooks_no_other_member_gets_in(forge: Forge, now: datetime) -> None:
    forge.webhook(now=now, name="closed")
    user = User.objects.create_user("ada", password=None)
    Membership.objects.create(user=user, organization=forge.organization, role=Membership.Role.MANAGER)
    browser = Client()
    browser.force_login(user)
    organization = {"organization": forge.organization.slug}
    assert browser.post("/portal/members", organization).status_code == 302
    assert "closed" in browser.get("/portal/").content.decode()

    Organization.objects.update(default_dialect="coregit")

    assert browser.get("/portal/").status_code == 401
    assert browser.post("/portal/members", organization).status_code == 404
    assert "You are a member of no organization" in browser.get("/portal/members").content.decode()
    Membership.objects.update(role=Membership.Role.OWNER)
    assert browser.post("/portal/members", organization).status_code == 302
    assert "closed" in browser.get("/portal/").content.decode()


def test_no_page_asks_more_than_twenty_questions_however_much_there_is(
    forge: Forge, sender: Sender, now: datetime
) -> None:
    own = things(forge, sender, now=now, text="own", name="own")
    browser = visitor(Caller.of(forge.organization), role="manage")

    def questions() -> dict[str, int]:
        counts = {}
        for route in ROUTES:
            with counted_statements() as asked:
                answer = browser.get(own.address(route))
            if answer.status_code == 200:
                counts[str(route.name)] = len(asked)
        return counts

    few = questions()
    for n in range(8):
        things(forge, sender, now=now, text=f"more {n}", name=f"more-{n}")
    Forge(forge.organization, own.webhook.repository or forge.repository, forge.receiver).accept(40, now=now)
    many = questions()

    assert len(many) >= 18
    assert {page: count for page, count in many.items() if count > 20} == {}
    assert {page: (few[page], count) for page, count in many.items() if count > few[page]} == {}
