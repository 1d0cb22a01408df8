"""Gives a login the memberships and the flags that its claims say, and takes those away that they no longer say."""

import logging
from datetime import datetime
from typing import Any

from django.contrib.auth.models import User
from django.db import transaction

from deliveries import audit
from deliveries.models import Organization
from hookhub.audited import audited
from hookhub.models import Membership
from hookhub.sso.claims import Granted

log = logging.getLogger("hookhub.logins")


def grant(user: User, granted: Granted, *, now: datetime) -> None:
    """Change a stored user to what is granted, with an entry in the audit log for each change."""
    with transaction.atomic():
        locked = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        _set_flags(locked, granted, now=now)
        for slug, role in sorted(granted.roles.items()):
            organization = Organization.objects.filter(slug__iexact=slug).first()
            if organization is None:
                log.warning("HOOKHUB_OIDC_ROLES names the organization %r, which does not exist", slug)
                continue
            _set_role(locked, organization, role, now=now)
    # Which allauth is about to store in the session, and other code to read.
    user.is_staff, user.is_superuser = locked.is_staff, locked.is_superuser


def _set_flags(user: User, granted: Granted, *, now: datetime) -> None:
    target, before = audited(user)
    flags: dict[str, Any] = {"is_staff": granted.is_staff, "is_superuser": granted.is_superuser}
    changed = [name for name, value in flags.items() if value is not None and getattr(user, name) != value]
    for name in changed:
        setattr(user, name, flags[name])
    if changed:
        user.save(update_fields=changed)
        audit.record_update("user.updated", target=target, before=before, after=audited(user)[1], now=now)


def _set_role(user: User, organization: Organization, role: str | None, *, now: datetime) -> None:
    of_user = Membership.objects.select_for_update(no_key=True).filter(user=user, organization=organization)
    membership = of_user.first()
    if membership is None and role is not None:
        # An owner may be adding or removing the same one in the admin.
        membership, is_new = Membership.objects.get_or_create(
            user=user, organization=organization, defaults={"role": role}
        )
        if is_new:
            target, state = audited(membership)
            audit.record("membership.created", target=target, after=state, now=now)
            return
        membership = of_user.first()
    if membership is None:
        return
    target, before = audited(membership)
    if role is None:
        audit.record("membership.deleted", target=target, before=before, now=now)
        membership.delete()
    elif membership.role != role:
        membership.role = role
        membership.save(update_fields=["role"])
        audit.record_update("membership.updated", target=target, before=before, after=audited(membership)[1], now=now)
