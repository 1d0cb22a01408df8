"""Every way to change something writes an audit entry; a new way that is not listed here fails."""

import copy
import json
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from io import StringIO
from typing import Any
from unittest import mock
from urllib.parse import urlencode

import pytest
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Group, User
from django.core.management import call_command, get_commands
from django.test import Client, RequestFactory
from django.urls import URLResolver, get_resolver
from django.utils import timezone
from pytest_django import Settings
from redis import Redis

from deliveries import pipeline
from deliveries.models import Attempt, AuditEntry, Delivery, Event, Organization, Repository, Webhook
from deliveries.redelivery import Selection
from deliveries.sending.sender import Sender, make_sender
from deliveries.webhooks import mcp_subscribing
from hookhub import portal_sessions, replays
from hookhub.alerts import channels
from hookhub.dialects.social_gateway.delivery_ids import number_of
from hookhub.event_types import registry
from hookhub.models import AlertChannel, ApiKey, CustomEventType, Membership, PortalSession, Replay, Scope
from hookhub.publishing.redis_stream.consumer import dead_letter_stream
from hookhub.service.management.commands import up
from tests.api import Caller
from tests.receiver import Receiver
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db


@dataclass
class World:
    """One row of each kind that can be changed, in one organization."""

    api: Caller
    operator: Caller
    organization: Organization
    repository: Repository
    webhook: Webhook
    disabled: Webhook
    delivery: Delivery
    waiting: Delivery
    attempt: Attempt
    replay: Replay
    event_type: CustomEventType
    key: ApiKey
    person: User
    membership: Membership
    group: Group
    url: str
    channel: AlertChannel


@pytest.fixture(scope="module")
def made(rows_of_the_module: None) -> Iterator[World]:
    """Create the rows, and serve what they send to."""
    with Receiver() as receiver, closing(make_sender(slots=1)) as sender:
        yield make_world(Forge.make(receiver), sender)


@pytest.fixture
def world(made: World, db: None) -> World:
    """Return the rows; what a test does to them is undone."""
    return copy.deepcopy(made, {id(caller): caller for caller in (made.api, made.operator)})


def make_world(forge: Forge, sender: Sender) -> World:
    now = timezone.now()
    webhook = forge.webhook(now=now, repository=forge.repository)
    forge.accept(now=now)
    deliver_due(sender, now=now)
    delivery = Delivery.objects.get()
    forge.accept(now=now + timedelta(seconds=1))
    waiting = Delivery.objects.get(state="pending")
    person = User.objects.create_user("pat", "pat@example.org", "a password of pat's")
    selection = Selection(organization_id=forge.organization.pk, states=("failed",))
    # It gets an event of each change of a webhook that is in the audit log.
    forge.webhook(now=now, path="/operations", events=["webhook"])
    return World(
        api=Caller.of(forge.organization),
        operator=Caller.of(None),
        organization=forge.organization,
        repository=forge.repository,
        webhook=webhook,
        disabled=forge.webhook(now=now, path="/disabled", repository=forge.repository),
        delivery=delivery,
        waiting=waiting,
        attempt=Attempt.objects.get(),
        replay=replays.start(forge.organization, selection=selection, now=now),
        event_type=registry.register({"type": "my.type"}, organization=forge.organization, now=now),
        key=ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)[0],
        person=person,
        membership=Membership.objects.create(user=person, organization=forge.organization),
        group=Group.objects.create(name="readers"),
        url=forge.receiver.url("/new"),
        channel=channels.create(
            {"type": "webhook", "url": forge.receiver.url("/alerts")}, organization=forge.organization, now=now
        ).channel,
    )


# The system event that is published with an audit entry about a webhook.
EVENTS = {
    **{each: each for each in (
        "webhook.created", "webhook.updated", "webhook.enabled", "webhook.disabled", "webhook.deleted",
    )},
    "webhook.secret_rotated": "webhook.updated",
    "webhook.verified": "webhook.updated",
}  # fmt: skip


def written_by(act: Callable[[], object]) -> list[AuditEntry]:
    """Run ``act``, and return the audit entries it has written, each of a webhook with its system event."""
    known = set(AuditEntry.objects.values_list("id", flat=True))
    events = set(Event.objects.values_list("id", flat=True))
    act()
    written = list(AuditEntry.objects.exclude(id__in=known).order_by("id"))
    published = Event.objects.exclude(id__in=events).filter(topics__contains=["webhook"])
    assert Counter(published.values_list("type", flat=True)) == Counter(
        EVENTS[entry.action] for entry in written if entry.action in EVENTS
    )
    return written


# By API, in every dialect --------------------------------------------------------------------------------------------

Request = Callable[[World], tuple[str, object]]
HOOKS = "/repos/acme/widgets/hooks"


def hook(world: World) -> str:
    return f"{HOOKS}/{world.webhook.pk}"


def web(world: World) -> dict[str, object]:
    return {"name": "web", "config": {"url": world.url}}


def subscription(world: World) -> bytes:
    """Return the hub's form: a body of bytes is sent as a form, all others as JSON."""
    topic = "http://testserver/acme/widgets/events/push"
    return urlencode({"hub.mode": "subscribe", "hub.topic": topic, "hub.callback": world.url}).encode()


def unsubscription(world: World) -> tuple[str, object]:
    """Return the call by which an agent ends a subscription, after having made it."""
    now = timezone.now()
    key = ApiKey.objects.get(key_id=world.api.key.split("_")[1])
    wanted = mcp_subscribing.Key(world.organization.pk, key.key_id, "https://agent.example/", "push", {})
    asked = mcp_subscribing.Subscription(wanted, "whsec_" + "a" * 32, None, {}, "http://testserver/v1/events/")
    mcp_subscribing.subscribe(asked, organization=world.organization, lasts=timedelta(hours=1), now=now)
    params = {"name": "push", "delivery": {"mode": "webhook", "url": wanted.url}}
    return "/mcp", {"jsonrpc": "2.0", "id": 1, "method": "events/unsubscribe", "params": params}


def portal_session(world: World) -> str:
    """Return the address of a portal session, after having made it."""
    wanted = portal_sessions.NewSession(world.organization, PortalSession.Role.READ, timedelta(hours=1))
    return f"/v1/portal-sessions/{portal_sessions.create(wanted, now=timezone.now())[0].pk}"


def alert_channel(world: World) -> str:
    return f"/v1/alert-channels/{world.channel.pk}"


SOCIAL_GATEWAY: dict[tuple[str, str], tuple[str, Request]] = {
    ("POST", ""): ("webhook.created", lambda w: (HOOKS, web(w))),
    ("PATCH", "/<str:webhook>"): ("webhook.updated", lambda w: (hook(w), {"events": ["push"]})),
    ("DELETE", "/<str:webhook>"): ("webhook.deleted", lambda w: (hook(w), None)),
    ("PATCH", "/<str:webhook>/config"): ("webhook.updated", lambda w: (f"{hook(w)}/config", {"insecure_ssl": "1"})),
    ("POST", "/<str:webhook>/tests"): ("webhook.test_sent", lambda w: (f"{hook(w)}/tests", None)),
    ("POST", "/<str:webhook>/test"): ("webhook.test_sent", lambda w: (f"{hook(w)}/test", None)),
    ("POST", "/<str:webhook>/pings"): ("webhook.pinged", lambda w: (f"{hook(w)}/pings", None)),
    ("POST", "/<str:webhook>/deliveries/<str:delivery>/attempts"): (
        "delivery.redelivered",
        lambda w: (f"{hook(w)}/deliveries/{number_of(w.attempt.id)}/attempts", None),
    ),
}

OPERATIONS: dict[tuple[str, str], tuple[str, Request]] = {
    ("POST", "mcp"): ("webhook.deleted", unsubscription),
    ("POST", "v1/organizations"): ("organization.created", lambda w: ("/v1/organizations", {"slug": "new"})),
    ("PATCH", "v1/organizations/<str:slug>"): (
        "organization.updated",
        lambda w: ("/v1/organizations/acme", {"name": "New"}),
    ),
    ("PATCH", "v1/organizations/<str:slug>/portal"): (
        "portal_settings.updated",
        lambda w: ("/v1/organizations/acme/portal", {"product_name": "Acme"}),
    ),
    ("POST", "v1/api-keys"): ("api_key.created", lambda w: ("/v1/api-keys", {"scope": "read"})),
    ("DELETE", "v1/api-keys/<str:key_id>"): ("api_key.revoked", lambda w: (f"/v1/api-keys/{w.key.key_id}", None)),
    ("PATCH", "v1/api-keys/<str:key_id>"): (
        "api_key.updated",
        lambda w: (f"/v1/api-keys/{w.key.key_id}", {"name": "renamed"}),
    ),
    ("POST", "v1/api-keys/<str:key_id>/roll"): (
        "api_key.rolled",
        lambda w: (f"/v1/api-keys/{w.key.key_id}/roll", {}),
    ),
    ("POST", "v1/repositories"): ("repository.created", lambda w: ("/v1/repositories", {"name": "new"})),
    ("PATCH", "v1/repositories/<str:name>"): (
        "repository.updated",
        lambda w: ("/v1/repositories/widgets", {"private": False}),
    ),
    ("DELETE", "v1/repositories/<str:name>"): ("repository.deleted", lambda w: ("/v1/repositories/widgets", None)),
    ("POST", "v1/webhooks"): ("webhook.created", lambda w: ("/v1/webhooks", {"url": w.url, "events": ["*"]})),
    ("PATCH", "v1/webhooks/<str:uid>"): ("webhook.updated", lambda w: (f"/v1/webhooks/{w.webhook.uid}", {"name": "n"})),
    ("DELETE", "v1/webhooks/<str:uid>"): ("webhook.deleted", lambda w: (f"/v1/webhooks/{w.webhook.uid}", None)),
    ("POST", "v1/webhooks/<str:uid>/enable"): (
        "webhook.enabled",
        lambda w: (f"/v1/webhooks/{w.webhook.uid}/enable", {}),
    ),
    ("POST", "v1/webhooks/<str:uid>/disable"): (
        "webhook.disabled",
        lambda w: (f"/v1/webhooks/{w.webhook.uid}/disable", {}),
    ),
    ("PATCH", "v1/webhooks/<str:uid>/headers"): (
        "webhook.updated",
        lambda w: (f"/v1/webhooks/{w.webhook.uid}/headers", {"headers": {"X-New": "value"}}),
    ),
    ("POST", "v1/webhooks/<str:uid>/rotate-secret"): (
        "webhook.secret_rotated",
        lambda w: (f"/v1/webhooks/{w.webhook.uid}/rotate-secret", {}),
    ),
    ("POST", "v1/webhooks/<str:uid>/verify"): (
        "webhook.verification_started",
        lambda w: (f"/v1/webhooks/{w.webhook.uid}/verify", {}),
    ),
    ("POST", "v1/webhooks/<str:uid>/ping"): ("webhook.pinged", lambda w: (f"/v1/webhooks/{w.webhook.uid}/ping", {})),
    ("POST", "v1/webhooks/<str:uid>/test"): ("webhook.test_sent", lambda w: (f"/v1/webhooks/{w.webhook.uid}/test", {})),
    ("POST", "v1/event-types"): ("event_type.created", lambda w: ("/v1/event-types", {"type": "your.type"})),
    ("PATCH", "v1/event-types/<str:name>"): (
        "event_type.updated",
        lambda w: ("/v1/event-types/my.type", {"description": "Mine"}),
    ),
    ("DELETE", "v1/event-types/<str:name>"): ("event_type.deleted", lambda w: ("/v1/event-types/my.type", None)),
    ("POST", "v1/deliveries/<str:uid>/redeliver"): (
        "delivery.redelivered",
        lambda w: (f"/v1/deliveries/{w.delivery.pk}/redeliver", None),
    ),
    ("POST", "v1/deliveries/<str:uid>/cancel"): (
        "delivery.cancelled",
        lambda w: (f"/v1/deliveries/{w.waiting.pk}/cancel", None),
    ),
    ("POST", "v1/alert-channels/<str:uid>/rotate-secret"): (
        "alert_channel.secret_rotated",
        lambda w: (f"{alert_channel(w)}/rotate-secret", {}),
    ),
    ("POST", "v1/alert-channels"): ("alert_channel.created", lambda _: ("/v1/alert-channels", {"type": "email"})),
    ("PATCH", "v1/alert-channels/<str:uid>"): ("alert_channel.updated", lambda w: (alert_channel(w), {"name": "n"})),
    ("DELETE", "v1/alert-channels/<str:uid>"): ("alert_channel.deleted", lambda w: (alert_channel(w), None)),
    ("POST", "v1/alert-channels/<str:uid>/test"): (
        "alert_channel.tested",
        lambda w: (f"{alert_channel(w)}/test", None),
    ),
    ("POST", "v1/portal-sessions"): ("portal_session.created", lambda w: ("/v1/portal-sessions", {})),
    ("DELETE", "v1/portal-sessions/<str:uid>"): ("portal_session.revoked", lambda w: (portal_session(w), None)),
    ("POST", "v1/webhooks/<str:uid>/replay-missing"): (
        "replay.started",
        lambda w: (f"/v1/webhooks/{w.webhook.uid}/replay-missing", {"after": "2026-03-04T00:00:00Z"}),
    ),
    ("POST", "v1/replays"): ("replay.started", lambda w: ("/v1/replays", {"state": ["failed"]})),
    ("POST", "v1/replays/<str:uid>/cancel"): (
        "replay.cancelled",
        lambda w: (f"/v1/replays/{w.replay.pk}/cancel", None),
    ),
    ("POST", "api/repositories/<str:owner>/<str:repo>/webhooks"): (
        "webhook.created",
        lambda w: ("/api/repositories/acme/widgets/webhooks", {"url": w.url}),
    ),
    ("PATCH", "api/webhooks/<str:webhook>"): (
        "webhook.updated",
        lambda w: (f"/api/webhooks/{w.webhook.uid}", {"events": ["push"]}),
    ),
    ("DELETE", "api/webhooks/<str:webhook>"): ("webhook.deleted", lambda w: (f"/api/webhooks/{w.webhook.uid}", None)),
    **{
        ("POST", f"{prefix}hub"): ("webhook.created", lambda w, prefix=prefix: (f"/{prefix}hub", subscription(w)))
        for prefix in ("", "api/v3/")
    },
    **{
        (method, f"{prefix}repos/<str:owner>/<str:repo>/hooks{rest}"): (
            action,
            lambda w, prefix=prefix, request=request: (f"/{prefix}{request(w)[0][1:]}", request(w)[1]),
        )
        for prefix in ("", "api/v3/")
        for (method, rest), (action, request) in SOCIAL_GATEWAY.items()
    },
}


def operations(patterns: Any = None, prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield every operation of the URL configuration that may change something, except the admin's."""
    for pattern in get_resolver().url_patterns if patterns is None else patterns:
        route = prefix + str(pattern.pattern)
        if route.removeprefix("^").startswith("admin/"):
            continue
        if isinstance(pattern, URLResolver):
            yield from operations(pattern.url_patterns, route)
            continue
        view: Any = getattr(pattern.callback, "view_class", None) or getattr(pattern.callback, "cls", None)
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            answered = getattr(view, "http_method_names", ()) if view else (method.lower(),)
            if method.lower() in answered and (view is None or hasattr(view, method.lower())):
                yield method, route


# Operations that change nothing, or nothing that is configuration: publishing, and user sessions.
NOT_RECORDED = {
    ("POST", "v1/events"),
    ("POST", "v1/events/validate"),
    # It only answers with the caller's identity.
    ("POST", "api/graphql"),
    ("POST", "v1/auth/login/"),
    ("PUT", "v1/auth/login/"),
    ("POST", "v1/auth/logout/"),
    # Its forms need a portal session; tests/integration/test_portal.py has what they record.
    *(operation for operation in operations() if operation[1].startswith("portal/")),
    *((method, "^docs(?P<path>|/.*)$") for method in ("POST", "PUT", "PATCH", "DELETE")),
    *((method, "docs/<path:name>.md") for method in ("POST", "PUT", "PATCH", "DELETE")),
    *((method, "llms.txt") for method in ("POST", "PUT", "PATCH", "DELETE")),
    *((method, ".well-known/security.txt") for method in ("POST", "PUT", "PATCH", "DELETE")),
    # The position of a consumer changes nothing for others, and may change every second.
    *((method, "v1/webhooks/<str:uid>/consumers/<str:name>") for method in ("PUT", "DELETE")),
    *((method, "listen.py") for method in ("POST", "PUT", "PATCH", "DELETE")),
    *((method, "") for method in ("POST", "PUT", "PATCH", "DELETE")),
    *(
        (method, f"{prefix}repos/<path:rest>")
        for method in ("POST", "PUT", "PATCH", "DELETE")
        for prefix in ("", "api/v3/")
    ),
}


@pytest.mark.parametrize(("method", "route"), sorted(set(operations()) - NOT_RECORDED))
def test_every_operation_of_every_api_is_in_the_audit_log(world: World, method: str, route: str) -> None:
    action, request = OPERATIONS[method, route]
    path, body = request(world)
    caller = world.operator if route == "v1/organizations" else world.api
    content_type = "application/x-www-form-urlencoded" if isinstance(body, bytes) else "application/json"
    headers = {"Mcp-Method": body["method"]} if path == "/mcp" and isinstance(body, dict) else None

    def act() -> None:
        answer = caller.send(method, path, body, content_type=content_type, headers=headers)
        assert answer.status_code < 300, (answer.status_code, answer.content)

    written = written_by(act)
    assert action in {entry.action for entry in written}
    assert {(entry.actor_kind, entry.actor_id) for entry in written} == {("api_key", caller.key.split("_")[1])}


@pytest.mark.parametrize("dialect", ["coregit", "codmir"])
@pytest.mark.parametrize(
    ("method", "route"),
    [("POST", "v1/webhooks"), ("PATCH", "v1/webhooks/<str:uid>"), ("DELETE", "v1/webhooks/<str:uid>")],
)
def test_every_operation_of_a_dialect_at_a_shared_address_is_in_the_audit_log(
    world: World, method: str, route: str, dialect: str
) -> None:
    Organization.objects.filter(pk=world.organization.pk).update(default_dialect=dialect)
    action, request = OPERATIONS[method, route]
    path, body = request(world)

    written = written_by(lambda: world.api.send(method, path, body))

    assert [entry.action for entry in written] == [action]


# In the admin -------------------------------------------------------------------------------------------------------

Deed = Callable[[World, Client], Any]


def post(page: str, **fields: object) -> Deed:
    """Post a form of the admin."""
    return lambda _world, client: client.post(f"/admin/{page}", fields)


def edit(row: Callable[[World], Any], **fields: object) -> Deed:
    """Change some fields of a row's form, and send the others as the form shows them."""

    def act(world: World, client: Client) -> Any:
        found = row(world)
        page = f"/admin/{found._meta.app_label}/{found._meta.model_name}/{found.pk}/change/"
        form = client.get(page).context["adminform"].form
        shown = {name: field.value() for name in form.fields if (field := form[name]).value() not in (None, False)}
        return client.post(page, {**shown, **fields})

    return act


def delete(row: Callable[[World], Any]) -> Deed:
    """Delete a row on its page."""

    def act(world: World, client: Client) -> Any:
        found = row(world)
        page = f"/admin/{found._meta.app_label}/{found._meta.model_name}/{found.pk}/delete/"
        return client.post(page, {"post": "yes"})

    return act


def run(action: str, row: Callable[[World], Any], **fields: str) -> Deed:
    """Run an action of a list on one row."""

    def act(world: World, client: Client) -> Any:
        found = row(world)
        page = f"/admin/{found._meta.app_label}/{found._meta.model_name}/"
        return client.post(page, {"action": action, "_selected_action": [str(found.pk)], "index": "0", **fields})

    return act


def disabled_and_run(action: str) -> Deed:
    """Disable a webhook as another user would, and run an action on it."""

    def act(world: World, client: Client) -> Any:
        run("disable", lambda w: w.disabled)(world, client)
        return run(action, lambda w: w.disabled)(world, client)

    return act


IN_ADMIN: dict[tuple[str, str], tuple[str, Deed]] = {
    ("deliveries.Organization", "add"): (
        "organization.created",
        post("deliveries/organization/add/", slug="new", default_dialect="native"),
    ),
    ("deliveries.Organization", "change"): ("organization.updated", edit(lambda w: w.organization, name="New")),
    ("deliveries.Repository", "add"): (
        "repository.created",
        lambda w, client: client.post(
            "/admin/deliveries/repository/add/", {"organization": w.organization.pk, "name": "new"}
        ),
    ),
    ("deliveries.Repository", "change"): ("repository.updated", edit(lambda w: w.repository, name="renamed")),
    ("hookhub.Membership", "add"): (
        "membership.created",
        lambda w, client: client.post(
            "/admin/hookhub/membership/add/",
            {"organization": w.organization.pk, "user": User.objects.get(username="op").pk, "role": "reader"},
        ),
    ),
    ("hookhub.Membership", "change"): ("membership.updated", edit(lambda w: w.membership, role="reader")),
    ("hookhub.Membership", "delete"): ("membership.deleted", delete(lambda w: w.membership)),
    ("hookhub.Membership", "delete_selected"): (
        "membership.deleted",
        run("delete_selected", lambda w: w.membership, post="yes"),
    ),
    ("hookhub.ApiKey", "add"): (
        "api_key.created",
        lambda w, client: client.post(
            "/admin/hookhub/apikey/add/", {"organization": w.organization.pk, "name": "new", "scope": "read"}
        ),
    ),
    ("hookhub.ApiKey", "change"): ("api_key.updated", edit(lambda w: w.key, name="renamed")),
    ("hookhub.ApiKey", "roll"): ("api_key.rolled", run("roll", lambda w: w.key)),
    ("hookhub.ApiKey", "revoke"): ("api_key.revoked", run("revoke", lambda w: w.key)),
    ("hookhub.CustomEventType", "add"): (
        "event_type.created",
        lambda w, client: client.post(
            "/admin/hookhub/customeventtype/add/", {"organization": w.organization.pk, "type": "your.type"}
        ),
    ),
    ("hookhub.CustomEventType", "change"): ("event_type.updated", edit(lambda w: w.event_type, description="Mine")),
    ("hookhub.CustomEventType", "delete"): ("event_type.deleted", delete(lambda w: w.event_type)),
    ("hookhub.CustomEventType", "delete_selected"): (
        "event_type.deleted",
        run("delete_selected", lambda w: w.event_type, post="yes"),
    ),
    ("hookhub.AlertChannel", "add"): (
        "alert_channel.created",
        lambda w, client: client.post(
            "/admin/hookhub/alertchannel/add/",
            {
                "organization": w.organization.pk,
                "type": "webhook",
                "url": w.url,
                "kinds": "disabled",
                "from_percent": "50",
                "enabled": "on",
            },
        ),
    ),
    ("hookhub.AlertChannel", "change"): ("alert_channel.updated", edit(lambda w: w.channel, name="renamed")),
    ("hookhub.AlertChannel", "delete"): ("alert_channel.deleted", delete(lambda w: w.channel)),
    ("hookhub.AlertChannel", "delete_selected"): (
        "alert_channel.deleted",
        run("delete_selected", lambda w: w.channel, post="yes"),
    ),
    ("hookhub.AlertChannel", "rotate_secret"): (
        "alert_channel.secret_rotated",
        run("rotate_secret", lambda w: w.channel),
    ),
    ("hookhub.AlertChannel", "send_test"): ("alert_channel.tested", run("send_test", lambda w: w.channel)),
    ("deliveries.Delivery", "redeliver"): ("delivery.redelivered", run("redeliver", lambda w: w.delivery)),
    ("deliveries.Delivery", "cancel"): ("delivery.cancelled", run("cancel", lambda w: w.waiting, confirmed="yes")),
    ("auth.User", "add"): (
        "user.created",
        post(
            "auth/user/add/",
            username="new",
            password1="correct horse b",
            password2="correct horse b",
            usable_password="true",
        ),
    ),
    ("auth.User", "change"): (
        "user.updated",
        lambda w, client: edit(lambda x: x.person, **JOINED, groups=[w.group.pk])(w, client),
    ),
    ("auth.User", "password"): (
        "user.password_changed",
        lambda w, client: client.post(
            f"/admin/auth/user/{w.person.pk}/password/",
            {"password1": "correct horse b", "password2": "correct horse b", "usable_password": "true"},
        ),
    ),
    ("auth.User", "own password"): (
        "user.password_changed",
        post(
            "password_change/",
            old_password="op-password-1",
            new_password1="correct horse b",
            new_password2="correct horse b",
        ),
    ),
    ("auth.User", "delete"): ("user.deleted", delete(lambda w: w.person)),
    ("auth.User", "delete_selected"): ("user.deleted", run("delete_selected", lambda w: w.person, post="yes")),
    ("auth.Group", "add"): ("group.created", post("auth/group/add/", name="new")),
    ("auth.Group", "change"): ("group.updated", edit(lambda w: w.group, name="renamed")),
    ("auth.Group", "delete"): ("group.deleted", delete(lambda w: w.group)),
    ("auth.Group", "delete_selected"): ("group.deleted", run("delete_selected", lambda w: w.group, post="yes")),
    ("deliveries.Webhook", "add"): (
        "webhook.created",
        lambda w, client: client.post(
            "/admin/deliveries/webhook/add/",
            {
                "organization": w.organization.pk,
                "url": w.url,
                "events": "*",
                "format": "github",
                "content_type": "json",
                "verify_ssl": "on",
                "auto_disable": "on",
            },
        ),
    ),
    ("deliveries.Webhook", "change"): ("webhook.updated", edit(lambda w: w.webhook, name="renamed")),
    ("deliveries.Webhook", "delete"): ("webhook.deleted", delete(lambda w: w.webhook)),
    ("deliveries.Webhook", "delete_selected"): (
        "webhook.deleted",
        run("delete_selected", lambda w: w.webhook, post="yes"),
    ),
    ("deliveries.Webhook", "enable"): ("webhook.enabled", disabled_and_run("enable")),
    ("deliveries.Webhook", "enable_and_release"): ("webhook.enabled", disabled_and_run("enable_and_release")),
    ("deliveries.Webhook", "disable"): ("webhook.disabled", run("disable", lambda w: w.webhook)),
    ("deliveries.Webhook", "ping"): ("webhook.pinged", run("ping", lambda w: w.webhook)),
    ("deliveries.Webhook", "send_test"): ("webhook.test_sent", run("send_test", lambda w: w.webhook)),
    ("deliveries.Webhook", "verify_url"): ("webhook.verification_started", run("verify_url", lambda w: w.webhook)),
    ("deliveries.Webhook", "rotate_secret"): ("webhook.secret_rotated", run("rotate_secret", lambda w: w.webhook)),
}
JOINED = {"date_joined_0": "2026-03-04", "date_joined_1": "12:00:00"}


def ways_in_admin() -> Iterator[tuple[str, str]]:
    """Yield everything that a superuser can do in the admin."""
    request = RequestFactory().get("/admin/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    for model, page in admin.site._registry.items():
        # An inline form saves another model, which would need its own audit entry.
        assert not page.inlines, f"{model._meta.label}: inlines are not recorded"
        assert not getattr(page, "list_editable", ()), f"{model._meta.label}: list_editable is not recorded"
        may = {
            "add": page.has_add_permission(request),
            "change": page.has_change_permission(request),
            "delete": page.has_delete_permission(request),
        }
        ways = [name for name, is_allowed in may.items() if is_allowed] + list(page.get_actions(request))
        yield from ((model._meta.label, way) for way in ways)
    yield from (("auth.User", "password"), ("auth.User", "own password"))


@pytest.mark.parametrize(("model", "way"), sorted(ways_in_admin()))
def test_every_change_in_the_admin_is_in_the_audit_log(world: World, client: Client, model: str, way: str) -> None:
    action, deed = IN_ADMIN[model, way]
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))

    def act() -> None:
        answer = deed(world, client)
        assert answer.status_code == 302, answer.content.decode()

    written = written_by(act)
    assert action in {entry.action for entry in written}
    assert {(entry.actor_kind, entry.actor_id) for entry in written} == {("person", "op")}


# By command ----------------------------------------------------------------------------------------------------------

COMMANDS: dict[str, tuple[str, Callable[[World], object]]] = {
    "create_api_key": ("api_key.created", lambda w: call("create_api_key", "--organization", "acme")),
    "roll_api_key": ("api_key.rolled", lambda w: call("roll_api_key", w.key.key_id)),
    "createsuperuser": (
        "user.created",
        lambda w: call("createsuperuser", "--noinput", "--username", "new", "--email", "new@example.org"),
    ),
    "changepassword": ("user.password_changed", lambda w: change_password("pat")),
    "redeliver": ("delivery.redelivered", lambda w: call("redeliver", str(w.delivery.pk))),
    "prune": ("delivery_log.pruned", lambda w: call("prune")),
    "reencrypt_secrets": ("secrets.reencrypted", lambda w: call("reencrypt_secrets")),
    "up": ("user.created", lambda w: first_steps()),
}
# These read, deliver, publish, or start commands listed above; `demo` and `stream` have their own tests below.
READ_ONLY = {"check_ledger", "drain", "hookhub_worker", "listen", "post_receive", "run", "send_event"}
OTHERS = {"demo", "stream"}
OURS = {name for name, app in get_commands().items() if app in {"deliveries", "hookhub", "django.contrib.auth"}}


def call(*words: str) -> None:
    call_command(*words, stdout=StringIO(), stderr=StringIO())


def change_password(username: str) -> None:
    with mock.patch("getpass.getpass", return_value="correct horse b"):
        call("changepassword", username)


def first_steps() -> None:
    User.objects.all().delete()
    Organization.objects.all().update(slug="demo-20260304-120000")
    assert up.first_steps()


@pytest.mark.parametrize("command", sorted(OURS - READ_ONLY - OTHERS))
def test_every_command_that_changes_something_is_in_the_audit_log(world: World, command: str) -> None:
    action, run_it = COMMANDS[command]

    written = written_by(lambda: run_it(world))

    assert action in {entry.action for entry in written}
    assert {(entry.actor_kind, entry.actor_id) for entry in written} == {("command", command)}


@pytest.mark.parametrize(
    ("what", "action"), [("retry", "stream.entries_retried"), ("delete", "stream.entries_deleted")]
)
def test_what_is_done_with_refused_entries_is_in_the_audit_log(
    db: None, settings: Settings, stream: str, what: str, action: str
) -> None:
    with Redis.from_url(settings.REDIS_URL) as valkey:
        valkey.xadd(dead_letter_stream(stream), {"event": json.dumps({"type": "push"})})

    written = written_by(lambda: call("stream", what, "--all"))

    assert [(entry.action, entry.actor_id, entry.target_id) for entry in written] == [(action, "stream", stream)]


def test_a_person_who_is_not_logged_in_is_no_actor_of_anybodys_name(world: World) -> None:
    request = RequestFactory().post("/")
    request.user = AnonymousUser()
    from hookhub.http.actors import actor_of_session

    assert actor_of_session(request).kind == "anonymous"


def test_the_batches_of_a_replay_are_not_recorded_one_by_one(world: World) -> None:
    selection = Selection(organization_id=world.organization.pk, states=("delivered",))
    replays.start(world.organization, selection=selection, now=timezone.now())

    assert written_by(lambda: replays.run_replays(now=timezone.now())) == []
    assert Delivery.objects.get(pk=world.delivery.pk).state == "pending"
    assert pipeline.claim(1, now=timezone.now())
