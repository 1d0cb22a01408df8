"""Event types and test events in the admin."""

import json
from datetime import datetime
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from deliveries.models import Delivery, Event, Organization, Webhook
from hookhub.event_types import registry
from hookhub.event_types.registry import MAX_CUSTOM_TYPES
from hookhub.models import CustomEventType
from tests.admin_pages import act, hidden_in, messages_of, page, page_of, press
from tests.story import Forge

pytestmark = pytest.mark.django_db

TYPES = "/admin/hookhub/customeventtype/"
TURNED = {"type": "widget.turned", "description": "Turned.", "schema": '{"required": ["degrees"]}', "example": ""}


@pytest.fixture
def operator(db: None, client: Client) -> Client:
    client.force_login(User.objects.create_superuser("op", "op@example.com", "op-password-1"))
    return client


def add(operator: Client, owner: Organization, **changes: Any) -> Any:
    return operator.post(f"{TYPES}add/", {"organization": owner.pk, **TURNED, **changes}, follow=True)


def errors_of(answer: Any) -> dict[str, list[str]]:
    return dict(answer.context["adminform"].form.errors)


def test_a_type_is_registered_changed_and_deleted(operator: Client, organization: Organization) -> None:
    add(operator, organization, example='{"degrees": 90}')
    row = CustomEventType.objects.get()
    operator.post(page_of(row), {"description": "Changed.", "schema": "", "example": '{"degrees": "ü"}'})
    changed = CustomEventType.objects.get()
    shown = page(operator, page_of(row)), page(operator, TYPES)
    operator.post(page_of(row).replace("/change/", "/delete/"), {"post": "yes"})

    assert (row.type, json.loads(row.schema or ""), row.example) == (
        "widget.turned", {"required": ["degrees"]}, '{"degrees":90}',
    )  # fmt: skip
    assert (changed.type, changed.description, changed.schema) == ("widget.turned", "Changed.", None)
    assert changed.example == '{"degrees":"ü"}'
    assert all("widget.turned" in text for text in shown)
    assert not CustomEventType.objects.exists()


def test_a_form_changes_only_what_its_user_has_changed(operator: Client, organization: Organization) -> None:
    add(operator, organization)
    row = CustomEventType.objects.get()
    loaded = {"example": "", **hidden_in(page(operator, page_of(row)))}
    CustomEventType.objects.update(schema='{"type": "object"}')

    operator.post(
        page_of(row), {"description": "Changed.", "schema": loaded["initial-schema"], "example": "", **loaded}
    )

    row.refresh_from_db()
    assert (row.description, row.schema) == ("Changed.", '{"type": "object"}')


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        pytest.param({"type": "a b"}, "type", id="a strange type"),
        pytest.param({"type": "webhook.disabled"}, "type", id="HookHub's own"),
        pytest.param({"schema": "{"}, "schema", id="no JSON"),
        pytest.param({"schema": "[" * 100_000}, "schema", id="JSON without end"),
        pytest.param({"schema": '{"pattern": "(a+)+$"}'}, "schema", id="a regular expression"),
        pytest.param({"example": "{}"}, "example", id="an example that breaks the schema"),
        pytest.param({"example": "1e999"}, "example", id="a number beyond numbers"),
        pytest.param({"organization": ""}, "organization", id="nobody's"),
    ],
)
def test_what_cannot_be_registered_is_told_beside_its_field(
    operator: Client, organization: Organization, changes: dict[str, str], field: str
) -> None:
    answer = add(operator, organization, **changes)

    assert list(errors_of(answer)) == [field]
    assert not CustomEventType.objects.exists()


def test_a_type_twice_and_one_too_many_are_told(operator: Client, organization: Organization) -> None:
    add(operator, organization)
    twice = add(operator, organization)
    CustomEventType.objects.bulk_create(
        CustomEventType(organization=organization, type=f"t{n}") for n in range(MAX_CUSTOM_TYPES - 1)
    )
    many = add(operator, organization, type="another")

    assert errors_of(twice)
    assert messages_of(many) == [
        f"type: limit reached: an organization can have at most {MAX_CUSTOM_TYPES} custom event types"
    ]
    assert CustomEventType.objects.count() == MAX_CUSTOM_TYPES


# Test events ---------------------------------------------------------------------------------------------------------


def sent() -> list[tuple[str, int | None]]:
    return list(Event.objects.order_by("id").values_list("type", "webhook_id"))


def test_the_page_offers_the_types_that_a_webhook_asks_for_and_sends_the_chosen_one(
    forge: Forge, operator: Client, now: datetime
) -> None:
    registry.register({"type": "tag.moved", "example": 1}, organization=forge.organization, now=now)
    webhook = forge.webhook(now=now, events=["tag"])
    forge.webhook(now=now, path="/other")

    offered = page(operator, page_of(webhook))
    told = press(operator, webhook, "send_test", type="tag.deleted")

    names = ("tag.created", "tag.deleted", "tag.moved", "push")
    assert [f"<option>{name}</option>" in offered for name in names] == [True, True, True, False]
    assert sent() == [("tag.deleted", webhook.pk)]
    assert "Test event tag.deleted sent" in told[0]
    assert str(Delivery.objects.get().pk) in told[0]


def test_of_several_each_is_sent_the_first_that_it_asks_for(forge: Forge, operator: Client, now: datetime) -> None:
    chosen = [
        forge.webhook(now=now, path="/1", events=["tag.deleted"]),
        forge.webhook(now=now, path="/2", events=["x.y"]),
        forge.webhook(now=now, path="/3"),
    ]
    press(operator, chosen[2], "disable")

    told = act(operator, "/admin/deliveries/webhook/", "send_test", *chosen)

    assert sent() == [("tag.deleted", chosen[0].pk)]
    assert told[1] == "Skipped: 1 (no example is available for the event types of this webhook (x.y)); 1 not enabled."


@pytest.mark.parametrize("wanted", ["push", "nothing.known", "<script>alert(1)</script>"])
def test_what_it_does_not_ask_for_is_not_sent(forge: Forge, operator: Client, now: datetime, wanted: str) -> None:
    webhook = forge.webhook(now=now, events=["tag"])

    told = press(operator, webhook, "send_test", type=wanted)

    assert len(told) == 1
    assert told[0].startswith("Skipped: 1 ")
    assert sent() == []


def test_to_one_that_is_not_active_no_test_is_offered(forge: Forge, operator: Client, now: datetime) -> None:
    webhook = forge.webhook(now=now)
    press(operator, webhook, "disable")

    assert "send_test" not in page(operator, page_of(Webhook.objects.get()))
