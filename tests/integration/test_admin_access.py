"""What staff can access in the admin: only rows of their own organizations, and no columns through lookups."""

from collections.abc import Iterator
from contextlib import closing
from copy import deepcopy
from datetime import datetime
from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.auth.models import Group, Permission, User
from django.contrib.sessions.backends.db import SessionStore
from django.core.exceptions import SuspiciousOperation
from django.db import transaction
from django.db.models import Model
from django.test import Client, RequestFactory
from django.utils import timezone

from deliveries.models import Attempt, AuditEntry, Delivery, Event, Organization, OutboxEntry, Repository, Webhook
from deliveries.sending.sender import Sender, make_sender
from hookhub.admin.base import OrganizationScoped
from hookhub.admin.sealed_messages import SealedSessionStorage
from hookhub.alerts import channels
from hookhub.models import Alert, AlertChannel, ApiKey, CustomEventType, Membership, Replay, Scope
from tests.receiver import Receiver
from tests.story import Forge, deliver_due

pytestmark = pytest.mark.django_db

# As the URLs of the service do, whichever modules were imported before.
admin.autodiscover()
MODELS = sorted(admin.site._registry, key=lambda model: model._meta.label)
every_model = pytest.mark.parametrize("model", MODELS, ids=lambda model: model._meta.label_lower)
LOOKUPS = (
    "exact", "iexact", "startswith", "istartswith", "contains", "endswith", "regex", "iregex", "gt", "gte", "lt",
    "lte", "in", "range", "isnull", "len", "overlap", "contained_by", "0", "year",
)  # fmt: skip
# One of each kind, because every value is tried with every parameter of every list.
ODD_VALUES = (
    "", "a\0b", "'\"\\", "([{", "x" * 3000, "-1", "99999999999999999999999", "1e999", "NaN", "None", "¹", "２",
    "\ud83d".encode("utf-8", "surrogatepass"), "2026-13-45", "9999-12-31T23:59", "0001-01-01T00:00", "~", "a~b",
)  # fmt: skip
ODDER_VALUES = (*ODD_VALUES, "\0", "%00", "0", "null", "true", "\u202e", "~~~", "../..", "{}", "[]", ",")


Tenants = tuple[dict[type[Model], Any], dict[type[Model], Any]]


def path_of(model: type[Model]) -> str:
    return f"/admin/{model._meta.app_label}/{model._meta.model_name}/"


def staff(organization: Organization | None, role: str = "owner", *, name: str = "sam") -> Client:
    """Return the client of a staff user with every permission, but not a superuser."""
    user = User.objects.create_user(name, f"{name}@example.com", is_staff=True)
    user.user_permissions.set(Permission.objects.all())
    if organization is not None:
        Membership.objects.create(user=user, organization=organization, role=role)
    client = Client(raise_request_exception=False)
    client.force_login(user)
    return client


def request_of_superuser() -> Any:
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True, is_staff=True, is_active=True)
    return request


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client(raise_request_exception=False)
    client.force_login(User.objects.create_superuser("op", "op@example.com"))
    return client


def tenant(slug: str, receiver: Receiver, sender: Sender, *, now: datetime) -> dict[type[Model], Any]:
    """Create one row of every model, all in one organization."""
    forge = Forge.make(receiver, slug)
    webhook = forge.webhook(now=now, path=f"/{slug}", name=f"hook of {slug}")
    forge.accept(now=now)
    deliver_due(sender, now=now)
    user = User.objects.create_user(f"member-of-{slug}")
    member = Membership.objects.create(user=user, organization=forge.organization)
    key, _ = ApiKey.issue(organization=forge.organization, scope=Scope.READ, now=now)
    own = CustomEventType.objects.create(organization=forge.organization, type=f"{slug}.thing")
    replay = Replay.objects.create(organization=forge.organization, asked={}, selection={}, total=1, upto=webhook.uid)
    delivery = Delivery.objects.get(webhook=webhook)
    channel = channels.create({"type": "email"}, organization=forge.organization, now=now).channel
    return {
        Organization: forge.organization, Repository: forge.repository, Webhook: webhook, User: user,
        Membership: member, ApiKey: key, CustomEventType: own, Replay: replay, Delivery: delivery,
        Event: Event.objects.get(pk=delivery.event_id), Attempt: Attempt.objects.get(webhook=webhook),
        AuditEntry: AuditEntry.objects.filter(organization=forge.organization).latest("pk"),
        Group: Group.objects.create(name=f"group of {slug}"),
        AlertChannel: channel, Alert: channels.send_test(channel, now=now),
    }  # fmt: skip


@pytest.fixture(scope="module")
def made(rows_of_the_module: None) -> Iterator[Tenants]:
    now = timezone.now()
    with Receiver() as receiver, closing(make_sender(slots=64)) as sender:
        yield tenant("acme", receiver, sender, now=now), tenant("rival", receiver, sender, now=now)


@pytest.fixture
def tenants(db: None, made: Tenants) -> Tenants:
    """Return two organizations with a row of every model each, which all tests of the module have."""
    return deepcopy(made)


# Columns --------------------------------------------------------------------------------------------------------------


def test_every_page_is_built_on_the_one_guarded_class() -> None:
    assert [
        model._meta.label for model in MODELS if not isinstance(admin.site._registry[model], OrganizationScoped)
    ] == []


def names_of(model: type[Model], *, depth: int = 3) -> Iterator[str]:
    """Yield every column that a query can reach from a model, through relations in both directions."""
    for field in model._meta.get_fields():
        yield field.name
        if depth > 1 and field.is_relation and field.related_model not in {None, model}:
            for inner in names_of(field.related_model, depth=depth - 1):
                yield f"{field.name}__{inner}"


@every_model
def test_no_lookup_is_allowed_but_the_filters_on_the_page(model: type[Model]) -> None:
    """Otherwise view-only staff could read masked URLs letter by letter with ``?url__startswith=``."""
    page, request = admin.site._registry[model], request_of_superuser()
    tried = list(names_of(model))
    tried += [f"{name}__{lookup}" for name in names_of(model) for lookup in LOOKUPS]

    allowed = {lookup for lookup in tried if page.lookup_allowed(lookup, "a", request)}

    assert len(tried) > 100
    assert allowed <= page.allowed_lookups(request)
    assert {lookup.rpartition("__")[2] for lookup in allowed} <= {
        "id", "pk", "exact", "isnull", *(f.parameter_name for f in page.list_filter if isinstance(f, type)),
    }  # fmt: skip


@every_model
def test_a_lookup_on_any_column_is_a_bad_request(model: type[Model], superuser: Client) -> None:
    allowed = admin.site._registry[model].allowed_lookups(None)
    for field in model._meta.get_fields():
        for lookup in ("startswith",):
            query = f"{field.name}__{lookup}"
            if query not in allowed:
                answer = superuser.get(path_of(model), {query: "a"})
                assert answer.status_code == 400, (query, answer.status_code)


SECRET = {
    "sealed_secrets", "sealed_headers", "secret_hash", "previous_secret_hash", "password", "url", "before", "after",
}  # fmt: skip


@every_model
def test_no_secret_column_is_searched_sorted_by_or_referred_to(model: type[Model]) -> None:
    page, request = admin.site._registry[model], request_of_superuser()
    ordered = [getattr(getattr(page, str(name), None), "admin_order_field", name) for name in page.list_display]

    columns = [*page.search_fields, *ordered, *(page.ordering or ())]
    used = {str(name).lstrip("-=^@").partition("__")[0] for name in columns}

    assert used & SECRET == set()
    assert [name for name in SECRET if page.to_field_allowed(request, name)] == []
    assert page.to_field_allowed(request, model._meta.pk.name)


@every_model
def test_popups_refer_to_rows_by_primary_key_alone(model: type[Model], superuser: Client) -> None:
    for field in model._meta.concrete_fields:
        if not field.primary_key:
            answer = superuser.get(path_of(model), {"_popup": "1", "_to_field": field.name})
            assert answer.status_code == 400, field.name


def test_the_search_does_not_reach_a_masked_url(tenants: Any, superuser: Client, now: datetime) -> None:
    for webhook in Webhook.objects.all():
        webhook.format, webhook.url = "slack", "https://hooks.slack.com/services/T/B/tellme"
        webhook.save()

    found = superuser.get(path_of(Webhook), {"q": "tellme"}).context["cl"].result_list

    assert list(found) == []


# Values ---------------------------------------------------------------------------------------------------------------


@every_model
def test_odd_values_are_never_an_error_of_the_server(model: type[Model], superuser: Client, tenants: Any) -> None:
    page = admin.site._registry[model]
    names = [*page.allowed_lookups(None), "q", "o", "p", "all", "older", "newer", "_facets", "nonsense"]
    user = User.objects.get(username="op")
    # One for all queries, which change nothing; one for each would be most of the statements.
    before = transaction.savepoint()

    for name in names:
        for value in ODDER_VALUES if name in {"q", "p", "older"} else ODD_VALUES:
            request = RequestFactory().get("/", {name: value})
            request.user, request.session = user, SessionStore()
            request._messages = SealedSessionStorage(request)
            try:
                list(page.get_changelist_instance(request).result_list)
            except (SuspiciousOperation, IncorrectLookupParameters):
                # Django answers these with 400 or with the unfiltered list; any other exception would be a 500.
                transaction.savepoint_rollback(before)
    for value, expected in (("\0", {422}), ("x", {200, 302, 400}), ("9" * 30, {200, 302, 400})):
        answer = superuser.get(path_of(model), {"q": value, "id__exact": value})
        assert answer.status_code in expected, value


@every_model
def test_odd_keys_of_selected_rows_are_never_an_error_of_the_server(
    model: type[Model], superuser: Client, tenants: Any
) -> None:
    actions = admin.site._registry[model].get_actions(request_of_superuser())

    answered = {
        (action, value): superuser.post(path_of(model), {"action": action, "_selected_action": [value]}).status_code
        for action in actions
        for value in ODD_VALUES
    }

    assert {key: status for key, status in answered.items() if status not in {200, 302, 400, 422}} == {}


@every_model
def test_odd_rows_chosen_in_a_form_are_never_an_error_of_the_server(
    model: type[Model], superuser: Client, tenants: Any
) -> None:
    for name in admin.site._registry[model].get_autocomplete_fields(request_of_superuser()):
        for value in ODD_VALUES:
            answer = superuser.post(f"{path_of(model)}add/", {name: value})
            assert (answer.status_code, bool(answer.context["errors"])) == (200, True), (name, value)


@pytest.mark.parametrize("limits", ["[" * 20_000, '{"a":' * 3000, "9" * 5000, '{"a": 1e400}', r'"\ud800"', "NaN"])
def test_odd_limits_are_errors_in_the_form(limits: str, superuser: Client, tenants: Tenants) -> None:
    organization = tenants[0][Organization]

    answer = superuser.post(f"{path_of(Organization)}{organization.pk}/change/", {"limits": limits})

    assert (answer.status_code, bool(answer.context["adminform"].form.errors["limits"])) == (200, True)


def test_odd_values_of_autocompletion_and_addresses_are_never_an_error_of_the_server(superuser: Client) -> None:
    fields = [(Membership, "user"), (Membership, "organization"), (Webhook, "repository"), (ApiKey, "organization")]
    for value in ODD_VALUES[:12]:
        for model, field in fields:
            base = {"app_label": model._meta.app_label, "model_name": model._meta.model_name, "field_name": field}
            for query in ({"term": value}, {"page": value}, {"app_label": value}, {"model_name": value}):
                assert superuser.get("/admin/autocomplete/", {**base, **query}).status_code < 500, (model, query)
            assert superuser.get("/admin/autocomplete/", {**base, "field_name": value}).status_code < 500
    for model in MODELS:
        for text in ("%00", "99999999999999999999999", "_00", "%C3%28"):
            for rest in ("change/", "history/", "delete/", "act/", ""):
                assert superuser.get(f"{path_of(model)}{text}/{rest}").status_code < 500, (model, text, rest)


def test_the_way_round_by_content_type_leads_nowhere(superuser: Client, tenants: Any) -> None:
    from django.contrib.contenttypes.models import ContentType

    for model in MODELS:
        number = ContentType.objects.get_for_model(model).pk
        for text in ("x", str(tenants[1][model].pk)):
            assert superuser.get(f"/admin/r/{number}/{text}/").status_code == 404


# Rows -----------------------------------------------------------------------------------------------------------------


@every_model
def test_staff_see_the_rows_of_their_organizations_only(model: type[Model], tenants: Any) -> None:
    mine, theirs = tenants
    client = staff(mine[Organization])

    answer = client.get(path_of(model))
    if model is Group:
        assert answer.status_code == 403
        assert client.get(f"{path_of(model)}{mine[model].pk}/change/").status_code in {302, 403, 404}
        return

    listed = {row.pk for row in answer.context["cl"].result_list}
    assert (mine[model].pk in listed, theirs[model].pk in listed) == (True, False)
    assert client.get(f"{path_of(model)}{mine[model].pk}/change/").status_code in {200, 302}
    for rest in ("change/", "history/", "delete/"):
        page = client.get(f"{path_of(model)}{theirs[model].pk}/{rest}")
        assert page.status_code in {302, 403, 404}, rest
        assert "rival" not in page.content.decode()
    assert client.get(path_of(model), {"id__exact": theirs[model].pk}).status_code in {200, 400}


@every_model
def test_staff_without_a_membership_see_nothing(model: type[Model], tenants: Any) -> None:
    client = staff(None)

    answer = client.get(path_of(model))

    assert answer.status_code == 403 or list(answer.context["cl"].result_list) == []


def test_a_filter_does_not_tell_of_another_tenant(tenants: Any) -> None:
    client = staff(tenants[0][Organization])

    def told(address: str, **query: str) -> list[str]:
        return [str(message) for message in client.get(address, query).context["messages"]]

    [theirs], [nobodys] = (told(path_of(Delivery), organization=slug) for slug in ("rival", "xxxxx"))
    assert theirs.replace("rival", "xxxxx") == nobodys
    assert told(path_of(Delivery), webhook=str(tenants[1][Webhook].uid)) != []
    assert told(path_of(Delivery), webhook=str(tenants[0][Webhook].uid)) == []


def test_autocompletion_offers_own_rows_only(tenants: Any) -> None:
    client = staff(tenants[0][Organization])

    def offered(model: type[Model], field: str) -> set[str]:
        meta = model._meta
        query = {"app_label": meta.app_label, "model_name": meta.model_name, "field_name": field}
        return {row["text"] for row in client.get("/admin/autocomplete/", query).json()["results"]}

    assert offered(Webhook, "organization") == {"acme"}
    assert len(offered(Webhook, "repository")) == 1
    assert offered(Membership, "user") == {"member-of-acme", "sam"}


def test_a_form_refuses_rows_of_another_tenant(tenants: Any) -> None:
    mine, theirs = tenants
    client = staff(mine[Organization])
    before = (Repository.objects.count(), ApiKey.objects.count(), Webhook.objects.count(), Membership.objects.count())
    foreign, own = theirs[Organization].pk, mine[Organization].pk

    for model, posted in (
        (Repository, {"organization": foreign, "name": "x"}),
        (ApiKey, {"organization": foreign, "scope": "read"}),
        (Membership, {"organization": foreign, "user": mine[User].pk, "role": "reader"}),
        (Membership, {"organization": own, "user": theirs[User].pk, "role": "reader"}),
        (Webhook, {"organization": foreign, "url": "https://example.com/", "events": "*"}),
        (Webhook, {"organization": own, "repository": theirs[Repository].pk, "url": "https://e.com/", "events": "*"}),
        (CustomEventType, {"organization": foreign, "type": "x.y"}),
    ):
        answer = client.post(f"{path_of(model)}add/", posted)
        assert answer.status_code == 200
        assert "Select a valid choice" in answer.content.decode(), model

    after = (Repository.objects.count(), ApiKey.objects.count(), Webhook.objects.count(), Membership.objects.count())
    assert after == before


def test_actions_leave_rows_of_another_tenant_alone(tenants: Any) -> None:
    mine, theirs = tenants
    client = staff(mine[Organization])
    kinds = (Webhook, ApiKey, Membership, Delivery)
    before = [list(model._default_manager.filter(pk=theirs[model].pk).values()) for model in kinds]

    for model, action in (
        (Webhook, "disable"), (Webhook, "rotate_secret"), (Webhook, "delete_selected"), (Delivery, "redeliver"),
        (ApiKey, "revoke"), (ApiKey, "roll"), (Membership, "delete_selected"),
    ):  # fmt: skip
        chosen = {"action": action, "_selected_action": [str(theirs[model].pk)], "post": "yes", "index": "0"}
        assert client.post(path_of(model), chosen).status_code in {200, 302}
        client.post(f"{path_of(model)}{theirs[model].pk}/act/", {"action": action})

    after = [list(model._default_manager.filter(pk=theirs[model].pk).values()) for model in kinds]
    assert after == before


def test_a_reader_among_staff_changes_nothing_whatever_the_permissions_say(tenants: Any) -> None:
    mine, _ = tenants
    client = staff(mine[Organization], "reader")
    hook = mine[Webhook]

    assert client.post(f"{path_of(Webhook)}{hook.pk}/act/", {"action": "disable"}).status_code == 403
    client.post(path_of(Webhook), {"action": "disable", "_selected_action": [hook.pk], "index": "0"})
    for model in (Webhook, Repository, CustomEventType, Membership, ApiKey):
        assert client.get(f"{path_of(model)}add/").status_code == 403
    assert client.post(f"{path_of(Webhook)}{hook.pk}/delete/", {"post": "yes"}).status_code == 403
    assert list(client.get(path_of(AuditEntry)).context["cl"].result_list) == []
    assert list(client.get(path_of(ApiKey)).context["cl"].result_list) == []

    hook.refresh_from_db()
    assert (hook.disabled_at, hook.deleted_at) == (None, None)


def test_the_front_page_counts_the_own_organizations_only(tenants: Any, receiver: Receiver) -> None:
    mine, theirs = tenants
    forge = Forge(theirs[Organization], theirs[Repository], receiver)
    forge.webhook(now=timezone.now(), path="/more")
    forge.accept(now=timezone.now())
    Webhook.objects.filter(organization=theirs[Organization]).update(
        disabled_at=timezone.now(), disabled_reason="by_owner"
    )
    client, operator = staff(mine[Organization]), staff(None, name="root")
    User.objects.filter(username="root").update(is_superuser=True)

    def metrics(who: Client) -> dict[str, str]:
        answer = who.get("/admin/")
        return {metric.title: metric.value for metric in answer.context["dashboard"]().metrics}

    assert metrics(client)["Disabled webhooks"] == "0"
    assert metrics(operator)["Disabled webhooks"] == "2"
    assert {metrics(client)[title] for title in ("Ready", "Failed (last 24 hours)", "Events awaiting fan-out")} == {"0"}
    assert not OutboxEntry.objects.exists()


def test_recent_actions_are_the_own_ones(tenants: Any, superuser: Client) -> None:
    operator = User.objects.get(username="op")
    LogEntry.objects.log_actions(operator.pk, [tenants[1][Webhook]], CHANGE, "Ping sent.")

    content = staff(tenants[0][Organization]).get("/admin/").content.decode()

    assert "hook of rival" not in content


# Privileges -----------------------------------------------------------------------------------------------------------


def test_staff_cannot_issue_an_operators_key_by_leaving_the_organization_empty(tenants: Any) -> None:
    mine, _ = tenants
    client = staff(mine[Organization])
    count = ApiKey.objects.count()

    for posted in ({"scope": "master"}, {"scope": "master", "organization": "", "acts_for_all": "on"}):
        answer = client.post(f"{path_of(ApiKey)}add/", posted)
        [error] = answer.context["adminform"].form.errors["organization"]
        assert error == "Select an organization."

    assert ApiKey.objects.count() == count


def test_a_superuser_issues_an_operators_key_by_a_tick_and_not_by_mistake(superuser: Client) -> None:
    ApiKey.objects.all().delete()
    mistaken = superuser.post(f"{path_of(ApiKey)}add/", {"scope": "master"})
    assert "or check “Access to all organizations”" in mistaken.content.decode()
    assert not ApiKey.objects.exists()

    assert superuser.post(f"{path_of(ApiKey)}add/", {"scope": "master", "acts_for_all": "on"}).status_code == 302

    assert ApiKey.objects.get().organization is None


def test_staff_change_no_people_no_passwords_and_no_groups(tenants: Any) -> None:
    mine, _ = tenants
    client = staff(mine[Organization])
    user = mine[User]
    password = user.password

    for address in ("change/", "password/", "delete/"):
        client.post(f"{path_of(User)}{user.pk}/{address}", {
            "username": user.username, "is_superuser": "on", "password1": "a-long-password-9",
            "password2": "a-long-password-9", "usable_password": "true", "post": "yes",
        })  # fmt: skip
    me = User.objects.get(username="sam")
    client.post(f"{path_of(User)}{me.pk}/change/", {"username": "sam", "is_superuser": "on", "is_staff": "on"})
    client.post(f"{path_of(User)}add/", {"username": "new", "password1": "long-pass-91", "password2": "long-pass-91"})
    client.post(f"{path_of(Group)}add/", {"name": "new"})
    client.post(path_of(User), {"action": "delete_selected", "_selected_action": [user.pk], "post": "yes"})

    user.refresh_from_db()
    assert (user.is_superuser, user.password) == (False, password)
    assert User.objects.filter(is_superuser=True).count() == 0
    assert (User.objects.filter(username="new").count(), Group.objects.filter(name="new").count()) == (0, 0)


def test_a_manager_among_staff_grants_no_membership_and_issues_no_key(tenants: Any) -> None:
    mine, _ = tenants
    client = staff(mine[Organization], "manager")
    me = Membership.objects.get(user__username="sam")
    count = (Membership.objects.count(), ApiKey.objects.count())

    client.post(f"{path_of(Membership)}{me.pk}/change/", {
        "user": me.user_id, "organization": me.organization_id, "role": "owner",
    })  # fmt: skip
    client.post(
        f"{path_of(Membership)}add/", {"user": mine[User].pk, "organization": me.organization_id, "role": "owner"}
    )
    client.post(f"{path_of(ApiKey)}add/", {"organization": me.organization_id, "scope": "master"})
    client.post(f"{path_of(Organization)}add/", {"slug": "mine-too", "default_dialect": "native"})

    me.refresh_from_db()
    assert me.role == "manager"
    assert (Membership.objects.count(), ApiKey.objects.count()) == count
    assert not Organization.objects.filter(slug="mine-too").exists()


# Secrets across two requests ------------------------------------------------------------------------------------------


def test_a_new_key_is_shown_once_and_crosses_no_cookie(superuser: Client, tenants: Any) -> None:
    answer = superuser.post(f"{path_of(ApiKey)}add/", {"scope": "read", "organization": tenants[0][Organization].pk})
    key = ApiKey.objects.latest("pk")
    cookies = " ".join(morsel.value for morsel in superuser.cookies.values())
    stored = dict(superuser.session.items())["_messages"]

    first = superuser.get(answer["Location"])
    second = superuser.get(answer["Location"])

    assert {*superuser.cookies} <= {"sessionid", "csrftoken"}
    assert f"hh_{key.key_id}" not in cookies
    assert f"hh_{key.key_id}" not in stored
    assert f"hh_{key.key_id}_" in first.content.decode().partition("It is not shown again")[0]
    assert "It is not shown again" not in second.content.decode()
    assert "no-store" in first["Cache-Control"]
    assert all(f"hh_{key.key_id}" not in entry.change_message for entry in LogEntry.objects.all())
    assert all(f"hh_{key.key_id}" not in entry.object_repr for entry in LogEntry.objects.all())
