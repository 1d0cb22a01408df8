"""What the tests have the shop do: for each line ``[NAME, ARGUMENTS …]``, print the outcome; both as JSON."""

import asyncio
import importlib.util
import io
import json
import os
import sys
from datetime import datetime

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")
django.setup()

from django.contrib import admin
from django.core.management import call_command
from django.db import connection, transaction
from django.test import Client
from django.urls import get_script_prefix, resolve, reverse
from orders.models import Customer, Order

from deliveries import timezone
from deliveries.models import AuditEntry, Event, Organization
from deliveries.webhooks.creating import create
from hookhub import InvalidEvent, apublish, publish, publish_batch
from hookhub.models import ApiKey, Membership, Scope

OURS = ("deliveries", "hookhub")


def begin(url):
    """Create the tables, and an organization with a webhook, a key and a member."""
    call_command("migrate", verbosity=0)
    acme = Organization.objects.create(slug="acme")
    create({"url": url, "events": ["*"]}, organization=acme, repository=None, now=timezone.now())
    _, key = ApiKey.issue(organization=acme, scope=Scope.MASTER, now=timezone.now())
    boss = Customer.objects.create_superuser("boss@example.org", "a password")
    Membership.objects.create(user=boss, organization=acme, role=Membership.Role.OWNER)
    return key


def sell():
    """Publish in all ways, and roll back some of it."""
    try:
        with transaction.atomic():
            Order(name="rolled back").pay()
            raise KeyError
    except KeyError:
        pass
    with transaction.atomic():
        Order(name="paid").pay()
        point = transaction.savepoint()
        publish("order.rolled-back", {}, organization="acme")
        transaction.savepoint_rollback(point)
        seen = [publish("order.once", {"n": 1}, organization="acme", id="1").is_repeat for _ in "12"]
    publish("order.alone", None, organization=Organization.objects.get(slug="acme"), timestamp=datetime.now())
    publish_batch([{"type": "order.first", "data": 1}, {"type": "order.second", "data": 2}], organization="acme")
    asyncio.run(apublish("order.awaited", [], organization="acme"))
    stored = sorted(Event.objects.values_list("type", flat=True))
    return {"repeats": seen, "stored": stored, "orders": list(Order.objects.values_list("name", flat=True))}


def refuse():
    """Try to publish what is invalid, in a transaction that goes on; return what the errors say."""
    good = {"type": "order.paid", "data": {}, "organization": "acme"}
    wrong = [
        {"type": "no type"}, {"data": object()}, {"data": float("nan")}, {"data": "x" * 1_048_576},
        {"organization": "nobody"}, {"organization": "\0"}, {"repository": "nothing"}, {"id": ""},
        {"timestamp": "yesterday"}, {"id": "a", "idempotency_key": "b"},
    ]  # fmt: skip
    found = []
    with transaction.atomic():
        publish(**good, id="used")
        for change in [*wrong, {"id": "used", "data": 1}]:
            try:
                publish(**good | change)
            except InvalidEvent as error:
                found.append([type(error).__name__, *error.fields])
        try:
            publish_batch([{"type": "a", "data": 1}, {"type": "b", "data": {1, 2}}], organization="acme")
        except InvalidEvent as error:
            found.append(list(error.fields))
        Order.objects.create(name="still possible")
        transaction.set_rollback(True)
    return found


def visit(key):
    """Call HookHub's addresses as programs and browsers do."""
    program, browser = Client(headers={"Authorization": f"Bearer {key}"}), Client()
    at = {"content_type": "application/json"}
    root = program.get("/webhooks/v1/").json()
    made = program.post("/webhooks/v1/webhooks", {"url": "https://example.org/", "events": ["x"]}, **at)
    event = program.post("/webhooks/v1/events", {"type": "order.visited", "data": 1}, **at)
    trace = f"00-{'1' * 32}-{'2' * 16}-01"
    webhook = f"/webhooks/v1/webhooks/{made.json()['id']}"
    program.post(f"{webhook}/ping", headers={"traceparent": trace})
    # It is not to be sent to another machine.
    program.delete(webhook)
    large = [program.post(f"/webhooks/v1/{path}", b" " * 3_000_000, **at) for path in ("events", "webhooks")]
    session = program.post("/webhooks/v1/portal-sessions", {}, **at).json()
    entered = browser.get(session["url"].partition("testserver")[2], follow=True)
    member = Client(headers={"Accept-Language": "de"})
    member.force_login(Customer.objects.get(email="boss@example.org"))
    document = program.get("/webhooks/v1/openapi.json").json()
    docs = browser.get("/webhooks/v1/docs")
    shown = {
        "root": root["webhooks"],
        "created": [made.status_code, made.headers["Location"].startswith("/webhooks/v1/webhooks/")],
        "created_at": made.json()["created_at"].endswith("Z"),
        "published": event.status_code,
        "no key": browser.get("/webhooks/v1/webhooks").json()["error"]["code"],
        "no path": browser.get("/webhooks/v1/nothing").json()["error"]["code"],
        "no slash": browser.get("/webhooks").headers["Location"],
        "no json": program.post("/webhooks/v1/events", "{", **at).status_code,
        "traced": Event.objects.get(type="ping").trace == trace,
        "no line": browser.get("/webhooks/v1/noth%0Aing").json()["error"]["code"],
        "large": [(answer.status_code, answer.json()["error"]["code"]) for answer in large],
        "GitHub": browser.get("/webhooks/repos/acme/x/hooks").json()["message"],
        "hub": program.post("/webhooks/hub", {}).status_code,
        "health": browser.get("/webhooks/healthz").status_code,
        "page": browser.get("/webhooks/", headers={"Accept": "text/html"}).content.count(b'href="/office/"'),
        "document": [document["info"]["title"], document["servers"][0]["url"], "/v1/events" in document["paths"]],
        "docs": [docs.status_code, browser.get("/webhooks/v1/docs/swagger-ui.css").status_code],
        "docs file": browser.get("/webhooks/v1/docs/..%2Fdocs.py").status_code,
        "portal": [entered.redirect_chain, b'href="/static/hookhub/portal.css"' in entered.content],
        "policy": "default-src 'none'" in entered.headers["Content-Security-Policy"],
        "stranger": browser.get("/webhooks/portal/members").headers["Location"],
        "member": [member.get("/webhooks/portal/members").status_code, member.get("/webhooks/v1/webhooks").status_code],
        "forged": Client(enforce_csrf_checks=True).post("/webhooks/portal/members").status_code,
    }
    forged = Client(enforce_csrf_checks=True)
    forged.force_login(Customer.objects.get(email="boss@example.org"))
    shown["forged"] = forged.post("/webhooks/portal/members", {"organization": "acme"}).status_code
    shown["after"] = [get_script_prefix(), reverse("home"), reverse("hookhub:portal"), resolve("/").url_name]
    shown["the shop"] = [browser.get("/").status_code, browser.get("/login/").headers.get("Content-Security-Policy")]
    return shown


def visit_a_read_only_server(key):
    """Publish while PostgreSQL refuses to write, by the fast path and by the view."""
    program = Client(headers={"Authorization": f"Bearer {key}"})
    with connection.cursor() as cursor:
        cursor.execute("SET default_transaction_read_only = on")
    try:
        event = {"type": "order.lost", "data": 1}
        answers = [
            program.post("/webhooks/v1/events", event, content_type="application/json", headers={"Accept": accepted})
            for accepted in ("*/*", "text/html;q=0.1, */*")
        ]
    finally:
        connection.close()
    return [[answer.status_code, answer.headers.get("Retry-After")] for answer in answers]


def administrate():
    """Open all of HookHub's pages in the shop's admin."""
    boss = Client()
    boss.force_login(Customer.objects.get(email="boss@example.org"))
    opened = {}
    for model in admin.site._registry:
        if model._meta.app_label in OURS:
            name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
            listed = boss.get(reverse(f"{name}_changelist"))
            opened[model.__name__] = [listed.status_code, b"hookhub/admin.css" in listed.content]
            if row := model._default_manager.order_by("pk").first():
                opened[model.__name__].append(boss.get(reverse(f"{name}_change", args=[row.pk])).status_code)
    found = boss.get(reverse("admin:hookhub_membership_changelist"), {"q": "boss@"})
    index = boss.get("/office/")
    acme = Organization.objects.get(slug="acme")
    made = boss.post(reverse("admin:hookhub_apikey_add"), {"organization": acme.pk, "scope": "read", "name": "office"})
    kept = [*(cookie.value for cookie in made.cookies.values()), json.dumps(dict(boss.session))]
    shown = boss.get(made.headers["Location"])
    entry = AuditEntry.objects.order_by("-id").first()
    return {
        "key": ["messages" in made.cookies, any("hh_" in text for text in kept), shown.content.count(b"New API key")],
        "actor": [entry.action, entry.actor_kind, entry.actor_id],
        "opened": opened,
        "found": found.content.count(b"boss@example.org"),
        "index": [b"The shop&#x27;s office" in index.content, b"HookHub" in index.content],
    }


def look_for_changes():
    """Return what `makemigrations --check` says, which ends this process if a migration is missing."""
    out = io.StringIO()
    call_command("makemigrations", check_changes=True, dry_run=True, stdout=out)
    return out.getvalue()


def find(package):
    """Return whether a package is there."""
    return importlib.util.find_spec(package) is not None


def order(count):
    """Publish so many events."""
    publish_batch([{"type": "order.made", "data": number} for number in range(count)], organization="acme")


for line in sys.stdin:
    name, *arguments = json.loads(line)
    print(json.dumps(globals()[name](*arguments)), flush=True)
    connection.close()
