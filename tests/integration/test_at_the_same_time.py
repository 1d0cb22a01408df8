"""Two at once: what one request begins, another one does in the middle of it, and nothing is lost or fails."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from django.db import transaction
from django.test import Client
from django.utils import timezone

from deliveries import polling, redelivery, vault
from deliveries.db import sql
from deliveries.models import AuditEntry, Delivery, PollConsumer, Repository, Webhook
from deliveries.webhooks import creating, lifecycle, secrets
from hookhub import portal_sessions
from hookhub.admin import auditing, webhook_actions
from hookhub.alerts import channels
from hookhub.api import organizations
from hookhub.models import AlertChannel, Membership, PortalSession
from hookhub.portal import secret_pages
from hookhub.sso.claims import Granted
from hookhub.sso.granting import grant
from tests.admin_pages import HOOKS, act, hidden_in, messages_of, page, page_of
from tests.api import Caller, faults
from tests.portal import shown, token_of, visitor
from tests.story import Forge, Meanwhile

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def superuser(db: None) -> Client:
    client = Client()
    client.force_login(User.objects.create_superuser("op", "op@example.com", "a right password"))
    return client


def channel_of(forge: Forge, repository: Repository | None) -> AlertChannel:
    fields = {"type": "email", "recipients": ["ops@example.com"], "repository": repository}
    return channels.create(fields, organization=forge.organization, now=timezone.now()).channel


def test_a_consumer_that_commits_while_it_is_deleted_gets_no_error(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = creating.create(
        {"kind": "poll", "events": ["push"]}, organization=forge.organization, repository=None, now=now
    )[0]
    polling.commit(webhook, "mirror", position=0, now=now)
    deletion = Meanwhile(lambda: polling.forget(webhook, "mirror"))
    monkeypatch.setattr(PollConsumer, "save", deletion.before(PollConsumer.save))

    assert polling.commit(webhook, "mirror", position=0, now=now).name == "mirror"
    assert deletion.result() is True
    assert not PollConsumer.objects.exists()


def test_a_login_changes_a_membership_that_an_owner_removes_at_the_same_time(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User.objects.create_user("sam")
    member = Membership.objects.create(user=user, organization=forge.organization, role="reader")
    removal = Meanwhile(Membership.objects.filter(pk=member.pk).delete)
    monkeypatch.setattr(Membership, "save", removal.before(Membership.save))

    grant(user, Granted({"acme": "owner"}, is_staff=None, is_superuser=None), now=now)

    assert removal.result()[0] == 1
    assert not Membership.objects.exists()


def test_a_login_makes_a_membership_that_an_owner_makes_at_the_same_time(
    forge: Forge, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User.objects.create_user("sam")
    save = Membership.save
    other = Meanwhile(
        lambda: Membership.objects.bulk_create([Membership(user=user, organization=forge.organization, role="reader")])
    )
    monkeypatch.setattr(Membership, "save", other.before(save))

    grant(user, Granted({"acme": "owner"}, is_staff=None, is_superuser=None), now=now)

    assert other.result()
    assert Membership.objects.get().role == "owner"
    assert AuditEntry.objects.filter(action="membership.updated").count() == 1


def test_a_channel_for_a_repository_that_is_deleted_at_the_same_time_is_deleted_too(
    forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletion = Meanwhile(lambda: caller.delete("/v1/repositories/widgets").status_code)
    monkeypatch.setattr(AlertChannel, "save", deletion.before(AlertChannel.save))

    made = caller.post("/v1/alert-channels", {"type": "email", "repository": "widgets"})

    assert (made.status_code, deletion.result()) == (201, 204)
    assert not AlertChannel.objects.exists()


@pytest.mark.parametrize("is_new", [True, False], ids=["new", "changed"])
def test_a_channel_for_a_repository_that_has_just_been_deleted_is_invalid(
    forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch, is_new: bool
) -> None:
    channel = channel_of(forge, None)
    really_set = channels.set_fields

    def set_fields(*args: Any, **options: Any) -> None:
        really_set(*args, **options)
        assert caller.delete("/v1/repositories/widgets").status_code == 204

    monkeypatch.setattr(channels, "set_fields", set_fields)

    if is_new:
        refused = caller.post("/v1/alert-channels", {"type": "email", "repository": "widgets"})
    else:
        refused = caller.patch(f"/v1/alert-channels/{channel.pk}", {"repository": "widgets"})

    assert refused.status_code == 422
    assert faults(refused) == {"repository": "was deleted in the meantime"}
    assert AlertChannel.objects.get().repository is None


def test_a_channel_that_is_moved_to_another_repository_is_not_deleted_with_its_old_one(
    forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    channel = channel_of(forge, forge.repository)
    Repository.objects.create(organization=forge.organization, name="gadgets")
    deletion = Meanwhile(lambda: caller.delete("/v1/repositories/widgets").status_code)
    monkeypatch.setattr(AlertChannel, "save", deletion.before(AlertChannel.save))

    moved = caller.patch(f"/v1/alert-channels/{channel.pk}", {"repository": "gadgets"})

    assert (moved.status_code, deletion.result()) == (200, 204)
    assert AlertChannel.objects.select_related("repository").get().repository.name == "gadgets"  # type: ignore[union-attr]


def test_a_session_for_a_repository_that_is_deleted_at_the_same_time_is_deleted_too(
    forge: Forge, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    deletion = Meanwhile(lambda: caller.delete("/v1/repositories/widgets").status_code)
    monkeypatch.setattr(portal_sessions, "digest", deletion.before(portal_sessions.digest))

    made = caller.post("/v1/portal-sessions", {"scope": {"repository": "widgets"}})

    assert (made.status_code, deletion.result()) == (201, 204)
    assert not PortalSession.objects.exists()


def test_the_deleted_webhooks_of_a_deleted_repository_are_not_changed_in_one_transaction(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(5):
        forge.webhook(repository=forge.repository, now=now)
    monkeypatch.setattr(sql, "BATCH", 2)
    left = []
    really_delete = organizations.delete_webhooks_of

    def delete(repository: Repository) -> None:
        really_delete(repository)
        left.append(Webhook.objects.filter(repository=repository).count())

    monkeypatch.setattr(organizations, "delete_webhooks_of", delete)

    assert caller.delete("/v1/repositories/widgets").status_code == 204
    # None is left for the transaction that deletes the repository.
    assert left == [5, 0]
    assert Webhook.objects.filter(repository=None).count() == 5


def test_webhooks_are_deleted_together_while_their_deliveries_are_cancelled_in_order(
    forge: Forge, now: datetime
) -> None:
    first, second = (forge.webhook(now=now, events=[each]) for each in ("issues", "push"))
    [of_second] = forge.accept(now=now, event_type="push")
    [of_first] = forge.accept(now=now + timedelta(seconds=1), event_type="issues")
    ids = [Delivery.objects.get(event=event).pk for event in (of_second, of_first)]
    assert ids == sorted(ids)
    cancellation = Meanwhile(lambda: redelivery.cancel(ids, now=now))

    # As when a repository is deleted, or made private, or a key is revoked.
    with transaction.atomic():
        lifecycle.delete(first.pk, now=now)
        cancellation.begin()
        lifecycle.delete(second.pk, now=now)

    assert cancellation.result() == 1
    assert set(Delivery.objects.values_list("state", flat=True)) == {"cancelled"}


def test_a_secret_that_is_rotated_while_another_page_removes_the_old_one_stays(
    forge: Forge, caller: Caller, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    webhook = forge.webhook(now=now, format="github", secret="an old secret")
    browser = visitor(caller, role="manage")
    address = f"/portal/webhooks/{webhook.uid}/secret"
    loaded = shown(browser, address)
    version = loaded.partition('name="version" value="')[2].partition('"')[0]
    rotation = Meanwhile(lambda: secrets.rotate_secret(webhook.pk, secret="a new secret", now=now))
    monkeypatch.setattr(secret_pages.changing, "change", rotation.before(secret_pages.changing.change))

    removed = browser.post(address, {"form_token": token_of(loaded), "version": version, "remove": ""})

    assert removed.status_code == 200
    rotation.result()
    webhook.refresh_from_db()
    assert [secret.text for secret in vault.secrets_of(webhook)] == ["a new secret"]


# The admin ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_own", [True, False], ids=["own", "of another"])
def test_a_new_password_undoes_no_change_that_is_made_at_the_same_time(
    superuser: Client, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    user = User.objects.get() if is_own else User.objects.create_user("sam", is_staff=True)
    dismissal = Meanwhile(lambda: User.objects.filter(pk=user.pk).update(is_active=False, is_staff=False))
    monkeypatch.setattr(User, "set_password", dismissal.before(User.set_password))
    new = "a new and long password"

    if is_own:
        sent = {"old_password": "a right password", "new_password1": new, "new_password2": new}
        answer = superuser.post("/admin/password_change/", sent)
    else:
        sent = {"usable_password": "true", "password1": new, "password2": new}
        answer = superuser.post(f"/admin/auth/user/{user.pk}/password/", sent)

    assert answer.status_code == 302
    dismissal.result()
    user.refresh_from_db()
    assert (user.check_password(new), user.is_active, user.is_staff) == (True, False, False)


def test_a_form_of_a_user_changes_only_what_was_changed_in_it(superuser: Client) -> None:
    user = User.objects.create_user("sam", is_staff=True)
    user.groups.add(old := Group.objects.create(name="old"))
    loaded = superuser.get(page_of(user))
    form = loaded.context["adminform"].form
    hidden = hidden_in(loaded.content.decode())
    assert "initial-password" not in hidden
    # Another administrator dismisses the user meanwhile, and the user gets a password.
    User.objects.filter(pk=user.pk).update(is_active=False, is_staff=False, is_superuser=False, password="another")
    user.groups.clear()

    as_loaded = {"username": "sam", "is_active": "on", "is_staff": "on", "groups": [str(old.pk)], **hidden}
    joined = form.initial["date_joined"].astimezone(timezone.get_current_timezone())
    times = {"date_joined_0": f"{joined:%Y-%m-%d}", "date_joined_1": f"{joined:%H:%M:%S}"}
    answer = superuser.post(page_of(user), {**as_loaded, **times, "email": "sam@example.com"})

    assert answer.status_code == 302, answer.context["adminform"].form.errors
    user.refresh_from_db()
    assert user.email == "sam@example.com"
    assert (user.is_active, user.is_staff, user.password) == (False, False, "another")
    assert not user.groups.exists()
    entry = AuditEntry.objects.get(action="user.updated")
    assert entry.after == '{"email": "sam@example.com"}'


def test_groups_and_permissions_of_a_user_are_changed_by_its_form(superuser: Client) -> None:
    user = User.objects.create_user("sam", is_staff=True)
    group = Group.objects.create(name="new")
    hidden = hidden_in(page(superuser, page_of(user)))
    sent = {"username": "sam", "is_active": "on", "is_staff": "on", "groups": [str(group.pk)], **hidden}
    times = {name.removeprefix("initial-"): value for name, value in hidden.items() if "date_joined" in name}

    assert superuser.post(page_of(user), {**sent, **times}).status_code == 302

    assert list(user.groups.all()) == [group]
    assert AuditEntry.objects.get(action="user.updated").after == '{"groups": ["new"]}'


def test_an_action_skips_a_webhook_that_is_deleted_at_the_same_time(
    forge: Forge, superuser: Client, now: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = forge.webhook(now=now, path="/a"), forge.webhook(now=now, path="/b")
    really_disable = lifecycle.disable

    def disable(webhook_id: int, *, now: datetime) -> tuple[Webhook, int]:
        if webhook_id == second.pk:
            lifecycle.delete(webhook_id, now=now)
        return really_disable(webhook_id, now=now)

    monkeypatch.setattr(webhook_actions.lifecycle, "disable", disable)

    said = act(superuser, HOOKS, "disable", first, second)

    assert said == [f"{first} disabled. 0 deliveries held.", "Skipped: 1 deleted."]


@pytest.mark.parametrize("action", ["delete", "change"])
def test_a_page_of_a_channel_that_is_deleted_at_the_same_time(
    forge: Forge, superuser: Client, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    channel = channel_of(forge, None)
    really_lock = channels.locked

    def lock(found: AlertChannel) -> AlertChannel:
        AlertChannel.objects.filter(pk=found.pk).delete()
        return really_lock(found)

    monkeypatch.setattr(channels, "locked", lock)
    if action == "delete":
        answer = superuser.post(page_of(channel).replace("/change/", "/delete/"), {"post": "yes"})
        assert answer.status_code == 302
    else:
        hidden = hidden_in(page(superuser, page_of(channel)))
        sent = {"name": "another", "kinds": ["failing"], "from_percent": "50", "recipients": "", "url": ""}
        answer = superuser.post(page_of(channel), {**hidden, **sent})
        assert answer.status_code == 404


def test_two_that_delete_the_same_row_record_one_deletion(
    forge: Forge, superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    member = Membership.objects.create(user=User.objects.get(), organization=forge.organization)
    address = page_of(member).replace("/change/", "/delete/")
    other = Client()
    other.force_login(User.objects.get())
    second = Meanwhile(lambda: other.post(address, {"post": "yes"}).status_code)
    monkeypatch.setattr(auditing.Audited, "record_deletion", second.before(auditing.Audited.record_deletion))

    assert superuser.post(address, {"post": "yes"}).status_code == 302

    assert second.result() == 302
    assert AuditEntry.objects.filter(action="membership.deleted").count() == 1


def test_a_membership_that_two_add_at_the_same_time_is_added_once(
    forge: Forge, superuser: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    user = User.objects.create_user("sam")
    other = Meanwhile(lambda: Membership.objects.bulk_create([Membership(user=user, organization=forge.organization)]))
    monkeypatch.setattr(Membership, "save", other.before(Membership.save))

    sent = {"user": str(user.pk), "organization": str(forge.organization.pk), "role": "owner"}
    answer = superuser.post("/admin/hookhub/membership/add/", sent, follow=True)

    assert answer.status_code == 200
    assert [text.partition(" in this moment")[0] for text in messages_of(answer)] == [
        "Somebody else has made another change"
    ]
    assert Membership.objects.count() == 1
