"""The credentials that end with the demo: its API key, and a login to the admin to look at what it does."""

import secrets
from dataclasses import dataclass

from django.contrib.auth.models import Permission, User
from django.db import transaction

from deliveries import audit, timezone
from deliveries.models import Organization
from hookhub.audited import audited
from hookhub.models import ApiKey, Membership


@dataclass(frozen=True)
class DemoLogin:
    """A staff user of the demo's organization, who sees and redelivers its deliveries."""

    user: User
    password: str


@transaction.atomic
@audit.by_command("demo")
def create_login(organization: Organization) -> DemoLogin:
    """Create a login named after the organization, which tells it from the logins of people."""
    password = secrets.token_urlsafe(12)
    user = User.objects.create_user(organization.slug, password=password, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="deliveries",
            codename__in=("view_delivery", "change_delivery", "view_attempt", "view_event", "view_webhook"),
        )
    )
    membership = Membership.objects.create(user=user, organization=organization, role=Membership.Role.MANAGER)
    for made in (user, membership):
        target, state = audited(made)
        audit.record(f"{target.kind}.created", target=target, after=state, now=timezone.now())
    return DemoLogin(user, password)


@transaction.atomic
@audit.by_command("demo")
def delete_login(login: DemoLogin) -> None:
    """Delete the login with its sessions, which end with the user."""
    target, state = audited(login.user)
    login.user.delete()
    audit.record(f"{target.kind}.deleted", target=target, before=state, now=timezone.now())


@audit.by_command("demo")
def delete_key(key: ApiKey) -> None:
    """Delete the operator key that the demo created for itself."""
    with transaction.atomic():
        target, state = key.as_target(), key.as_state()
        key.delete()
        audit.record("api_key.deleted", target=target, before=state, now=timezone.now())
