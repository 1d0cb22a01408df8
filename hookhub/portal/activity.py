"""The portal's log of changes to webhooks: what was changed, by whom, and what alerts were sent."""

import json
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from django.http import Http404, HttpRequest, HttpResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_safe

from deliveries import timezone
from deliveries.db import arrays, sql
from deliveries.db.ids import time_of
from deliveries.log_search import LAST_ID
from deliveries.models import AuditEntry
from deliveries.plain_text import printable
from hookhub import people, portal_sessions
from hookhub.alerts import history
from hookhub.formatting import exact, relative
from hookhub.models import Alert, ApiKey, Membership, PortalSession
from hookhub.portal.access import for_session, page
from hookhub.portal.alerts import named

ROWS = 50
# Entries that a page reads of an organization's log, whose other entries it leaves out; and of how many webhooks a page
# has the entries.
MAX_READ = 1000
MAX_WEBHOOKS = 200
ALERTS_SHOWN = 20
# What a session of a whole organization sees changes of.
KINDS = ("webhook", "delivery", "replay", "portal_session", "portal_settings", "alert_channel")
ACTIONS: Mapping[str, Promise] = {
    "webhook.created": gettext_lazy("Webhook created"),
    "webhook.updated": gettext_lazy("Webhook changed"),
    "webhook.deleted": gettext_lazy("Webhook deleted"),
    "webhook.disabled": gettext_lazy("Webhook disabled"),
    "webhook.enabled": gettext_lazy("Webhook enabled"),
    "webhook.ended": gettext_lazy("Lease ended"),
    "webhook.pinged": gettext_lazy("Ping sent"),
    "webhook.test_sent": gettext_lazy("Test event sent"),
    "webhook.secret_rotated": gettext_lazy("Secret replaced"),
    "webhook.verified": gettext_lazy("Receiver verified"),
    "webhook.verification_started": gettext_lazy("Verification started"),
    "webhook.verification_failed": gettext_lazy("Verification failed"),
    "delivery.redelivered": gettext_lazy("Deliveries sent again"),
    "delivery.cancelled": gettext_lazy("Deliveries cancelled"),
    "replay.started": gettext_lazy("Bulk redelivery started"),
    "replay.cancelled": gettext_lazy("Bulk redelivery cancelled"),
    "portal_session.created": gettext_lazy("Portal link made"),
    "portal_session.revoked": gettext_lazy("Portal session ended"),
    "portal_settings.updated": gettext_lazy("Portal settings changed"),
    "alert_channel.created": gettext_lazy("Alert channel created"),
    "alert_channel.updated": gettext_lazy("Alert channel changed"),
    "alert_channel.deleted": gettext_lazy("Alert channel deleted"),
    "alert_channel.secret_rotated": gettext_lazy("Secret of an alert channel replaced"),
    "alert_channel.tested": gettext_lazy("Test alert sent"),
}
ALERT_STATES: Mapping[str, Promise] = {
    Alert.State.PENDING: gettext_lazy("waiting"),
    Alert.State.SENT: gettext_lazy("sent"),
    Alert.State.FAILED: gettext_lazy("failed"),
    Alert.State.SUPERSEDED: gettext_lazy("no longer needed"),
}


@require_safe
@for_session
def activity(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Show the changes to what the session sees, newest first, and the latest alerts."""
    before, now = _position(request), timezone.now()
    find = find_of_organization if session.is_of_organization else find_of_webhooks
    ids, onward = find(session, before)
    entries = list(AuditEntry.objects.filter(pk__in=ids).order_by("-id"))
    names = Names(session, entries)
    alerts = [] if before else history.recent_of(session, most=ALERTS_SHOWN)
    context = {
        "entries": [
            {
                "action": ACTIONS.get(entry.action, entry.action),
                "target": printable(
                    named(entry.target_label) if entry.target_kind == "alert_channel" else entry.target_label
                ),
                "actor": names.of(entry),
                "at": exact(entry.recorded_at),
                "when": relative(entry.recorded_at, now=now),
                "changes": changes_of(entry),
            }
            for entry in entries
        ],
        "alerts": [
            {
                "kind": _(str(alert.get_kind_display())),
                "webhook": None if alert.webhook is None else str(alert.webhook),
                "channel": printable(named(alert.channel_name)),
                "state": ALERT_STATES.get(alert.state, alert.state),
                "at": exact(alert.created_at),
                "when": relative(alert.created_at, now=now),
            }
            for alert in alerts
        ],
        "is_whole": session.is_of_organization,
        "is_older": before is not None,
        "older": onward or "",
        "searched_until": exact(time_of(onward)) if onward and len(ids) < ROWS else "",
    }
    return page(request, session, "activity.html", context)


def _position(request: HttpRequest) -> UUID | None:
    text = request.GET.get("older", "")
    try:
        return UUID(text) if text else None
    except ValueError as error:
        raise Http404 from error


def find_of_organization(session: PortalSession, before: UUID | None) -> tuple[list[UUID], UUID | None]:
    """Return the organization's next entries about KINDS, and after which to go on; by audit_of_organization."""
    bounds = {"organization": session.organization_id, "before": before or LAST_ID, "most": MAX_READ}
    rows = _read(FIND_OF_ORGANIZATION, bounds)
    ids = [identifier for identifier, kind in rows if kind in KINDS]
    if len(ids) > ROWS:
        return ids[:ROWS], ids[ROWS - 1]
    return ids, rows[-1][0] if len(rows) == MAX_READ else None


def find_of_webhooks(session: PortalSession, before: UUID | None) -> tuple[list[UUID], UUID | None]:
    """Return the next entries about the session's webhooks, and after which to go on; by audit_by_target."""
    uids = portal_sessions.webhooks_of(session).order_by("-id").values_list("uid", flat=True)[:MAX_WEBHOOKS]
    bounds = {
        "organization": session.organization_id,
        "targets": arrays.texts(map(str, uids)),
        "before": before or LAST_ID,
        "most": ROWS + 1,
    }
    ids = [identifier for (identifier,) in _read(FIND_OF_WEBHOOKS, bounds)]
    return ids[:ROWS], ids[ROWS - 1] if len(ids) > ROWS else None


def _read(statement: str, bounds: Mapping[str, object]) -> list[sql.Row]:
    with sql.transaction():
        sql.run(sql.PREFER_ORDERED_INDEXES, {})
        return sql.run(statement, bounds, commits=True)


# Both by an array and in the order of the index's columns, which no other index has: for the rows of one webhook in the
# order of their ids alone, the planner would sometimes read those of all, hoping to meet some of these soon.
FIND_OF_ORGANIZATION = """
SELECT id, target_kind FROM hookhub_audit_entry
WHERE organization_id = ANY(ARRAY[%(organization)s::bigint]) AND id < %(before)s
ORDER BY organization_id, id DESC LIMIT %(most)s
"""

FIND_OF_WEBHOOKS = """
SELECT entry.id FROM unnest(%(targets)s::text[]) AS t (id) CROSS JOIN LATERAL (
    SELECT id FROM hookhub_audit_entry
    WHERE target_id = ANY(ARRAY[t.id]) AND id < %(before)s
      AND target_kind = 'webhook' AND organization_id = %(organization)s
    ORDER BY target_id, id DESC LIMIT %(most)s
) AS entry
ORDER BY entry.id DESC LIMIT %(most)s
"""


class Names:
    """The names of those who made changes; the operator's people and keys are none of an owner's business."""

    def __init__(self, session: PortalSession, entries: Sequence[AuditEntry]) -> None:
        self._session = str(session.pk)
        actors = [entry.actor_id for entry in entries]
        keys = ApiKey.objects.filter(organization=session.organization_id, key_id__in=actors)
        self._keys = set(keys.values_list("key_id", flat=True))
        name = f"user__{people.name_field()}"
        members = Membership.objects.filter(organization=session.organization_id, **{f"{name}__in": actors})
        self._members = set(members.values_list(name, flat=True))

    def of(self, entry: AuditEntry) -> str:
        """Return who made a change."""
        match entry.actor_kind:
            case "portal":
                return _("this session") if entry.actor_id == self._session else _("another portal session")
            case "api_key" if entry.actor_id in self._keys:
                name = printable(entry.actor_name or entry.actor_id)
                return _("API key %(name)s") % {"name": name}
            case "person" if entry.actor_id in self._members:
                return printable(entry.actor_id)
            case "system":
                return _("HookHub itself")
            case "anonymous":
                return _("a subscriber")
        return _("the operator")


def changes_of(entry: AuditEntry) -> list[tuple[str, str, str]]:
    """Return the changed fields of an entry, each with its value before and after; secrets are masked in the log."""
    before, after = _fields(entry.before), _fields(entry.after)
    return [(name, _shown(before, name), _shown(after, name)) for name in {**before, **after}]


def _fields(text: str | None) -> dict[str, Any]:
    found = {} if text is None else json.loads(text)
    return found if isinstance(found, dict) else {}


def _shown(fields: Mapping[str, Any], name: str) -> str:
    if name not in fields:
        return ""
    value = fields[name]
    return printable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
