"""Portal sessions: a link that works once and for minutes opens a session that lasts for hours.

Both the link's token and the session's cookie are 256 random bits, of which only a hash is stored.
"""

import hashlib
import hmac
import secrets
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet

from deliveries import audit
from deliveries.db.ids import uuid7
from deliveries.db.lookups import Lookup, find_one
from deliveries.models import Organization, Repository, Webhook
from hookhub.models import INCLUDED, MASTER_ONLY, Membership, PortalSession, Scope

# For how long a session is kept, and its browser keeps the cookie, after it ended.
KEPT = timedelta(days=1)
# How many one statement deletes: a product may open some for each of its users.
PRUNE_BATCH = 1000
# How long a link can be opened after it was made.
LINK_LASTS = timedelta(minutes=10)
MIN_LENGTH, DEFAULT_LENGTH, MAX_LENGTH = timedelta(minutes=1), timedelta(hours=1), timedelta(days=7)


class NewSession(NamedTuple):
    """A session to create: an organization, one repository of it, or some of its webhooks."""

    organization: Organization
    role: PortalSession.Role
    lasts: timedelta
    repository: Repository | None = None
    webhooks: tuple[Webhook, ...] | None = None
    theme: PortalSession.Theme = PortalSession.Theme.AUTO
    locale: str | None = None
    time_zone: str | None = None
    return_url: str = ""


def create(new: NewSession, *, now: datetime) -> tuple[PortalSession, str]:
    """Create a session that is not open yet; return it with the token of its link, which cannot be shown again.

    Raise Repository.DoesNotExist if its repository has been deleted meanwhile.
    """
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        if new.repository is not None:
            Repository.objects.select_for_update(no_key=True).get(pk=new.repository.pk)
        session = PortalSession.objects.create(
            organization=new.organization,
            repository=new.repository,
            webhooks=None if new.webhooks is None else [webhook.uid for webhook in new.webhooks],
            role=new.role,
            theme=new.theme,
            locale=new.locale,
            time_zone=new.time_zone,
            return_url=new.return_url,
            token_hash=digest(token),
            created_at=now,
            token_expires_at=min(now + LINK_LASTS, now + new.lasts),
            expires_at=now + new.lasts,
        )
        audit.record("portal_session.created", target=session.as_target(), after=session.as_state(), now=now)
    return session, token


def open_by(token: str, *, now: datetime) -> tuple[PortalSession, str] | None:
    """Open the session of a link, once; return it with the text of its cookie, or None if the link is of no use."""
    cookie = secrets.token_urlsafe(32)
    usable = PortalSession.objects.filter(token_hash=digest(token), token_expires_at__gt=now, revoked_at=None)
    # A single statement: of two browsers that open the link at once, one gets the session.
    if not usable.update(token_hash=None, cookie_hash=digest(cookie), opened_at=now):
        return None
    session = find(cookie, now=now)
    return None if session is None else (session, cookie)


def open_for(member: Membership, *, now: datetime, lasts: timedelta) -> tuple[PortalSession, str] | None:
    """Open a session for a member that is logged in, for all of the organization; return it with its cookie.

    Return None if the member may not see its webhooks.
    """
    role = role_of(member)
    if role is None:
        return None
    cookie = secrets.token_urlsafe(32)
    with transaction.atomic():
        session = PortalSession.objects.create(
            organization=member.organization,
            user=member.user,
            role=role,
            token_expires_at=now,
            cookie_hash=digest(cookie),
            created_at=now,
            opened_at=now,
            expires_at=now + lasts,
        )
        audit.record("portal_session.created", target=session.as_target(), after=session.as_state(), now=now)
    return session, cookie


def find(cookie: str, *, now: datetime) -> PortalSession | None:
    """Return the open session of a cookie, or None if it has ended, or if there is none.

    A member's session has the role of the membership as it is now, and ends with it.
    """
    session = _open_session(cookie_hash=digest(cookie), now=now)
    if session is None or session.user_id is None:
        return session
    members = Membership.objects.filter(user=session.user_id, organization=session.organization_id)
    member = find_one(members.select_related("organization"))
    role = None if member is None else role_of(member)
    if role is None:
        return None
    session.role = role
    session.is_owners = member is not None and Scope.MASTER in INCLUDED[member.scope]
    return session


def find_ended(cookie: str) -> PortalSession | None:
    """Return the session that this cookie belongs to, ended or not; it must not be let in."""
    return find_one(_known().filter(cookie_hash=digest(cookie)))


def _known() -> QuerySet[PortalSession]:
    return PortalSession.objects.select_related("organization__portal_settings", "repository")


_open_session = Lookup(
    lambda cookie_hash, now: _known().filter(cookie_hash=cookie_hash, revoked_at=None, expires_at__gt=now),
    "cookie_hash",
    "now",
)


def role_of(member: Membership) -> PortalSession.Role | None:
    """Return the role of a member's session; None if, as for the API, only an owner may see the webhooks."""
    if member.organization.default_dialect in MASTER_ONLY and Scope.MASTER not in INCLUDED[member.scope]:
        return None
    return PortalSession.Role.MANAGE if Scope.MANAGE in INCLUDED[member.scope] else PortalSession.Role.READ


def revoke(session: PortalSession, *, now: datetime) -> bool:
    """End a session, and its link; return False if it was revoked already."""
    with transaction.atomic():
        before = session.as_state()
        if not PortalSession.objects.filter(pk=session.pk, revoked_at=None).update(revoked_at=now):
            return False
        session.revoked_at = now
        audit.record_update(
            "portal_session.revoked", target=session.as_target(), before=before, after=session.as_state(), now=now
        )
    return True


def prune_ended(*, now: datetime) -> int:
    """Delete up to PRUNE_BATCH sessions that ended a day ago; return how many."""
    old = PortalSession.objects.filter(expires_at__lt=now - KEPT).order_by("expires_at")
    ids = list(old.values_list("pk", flat=True)[:PRUNE_BATCH])
    return PortalSession.objects.filter(pk__in=ids).delete()[0] if ids else 0


def webhooks_of(session: PortalSession) -> QuerySet[Webhook]:
    """Return the webhooks that a session shows, deleted ones left out."""
    found = Webhook.objects.kept().of_organization(session.organization_id)
    if session.repository_id is not None:
        found = found.filter(repository=session.repository_id)
    if session.webhooks is not None:
        found = found.filter(uid__in=session.webhooks)
    return found


def form_token(session: PortalSession) -> str:
    """Return what the forms of a session carry, so that no other site can send one in its name.

    Django's own token is a cookie, which browsers withhold from a page that is embedded in another site.
    """
    key, message = settings.SECRET_KEY.encode(), b"hookhub-portal-form:" + bytes(session.cookie_hash or b"")
    return hmac.new(key, message, hashlib.sha256).hexdigest()


def draft(session: PortalSession, *, now: datetime) -> str:
    """Return the id of a webhook that a form of the session may create, so that the same form creates only one."""
    uid = uuid7(now)
    return f"{uid}.{_draft_mark(uid, session)}"


def read_draft(text: str, session: PortalSession) -> UUID | None:
    """Return the id in a draft of this session; None for any other text."""
    first, _, mark = text.partition(".")
    try:
        uid = UUID(first)
    except ValueError:
        return None
    return uid if hmac.compare_digest(mark.encode(), _draft_mark(uid, session).encode()) else None


def _draft_mark(uid: UUID, session: PortalSession) -> str:
    message = b"hookhub-portal-draft:" + uid.bytes + bytes(session.cookie_hash or b"")
    return hmac.new(settings.SECRET_KEY.encode(), message, hashlib.sha256).hexdigest()


def digest(text: str) -> bytes:
    """Return the SHA-256 of a token; a slow hash would not protect 256 random bits any better."""
    return hashlib.sha256(text.encode()).digest()
