"""The pages of alerts: who is told when a webhook fails, and what was told; for sessions of a whole organization."""

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, cast
from uuid import UUID

from django.db import IntegrityError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext
from django.views.decorators.http import require_POST, require_safe

from deliveries import timezone, vault
from deliveries.db.lookups import find_one
from deliveries.rates import TooMany
from deliveries.webhooks.fields import InvalidFields
from deliveries.webhooks.secrets import RotatedMeanwhile
from hookhub import portal_sessions
from hookhub.alerts import channels, history
from hookhub.formatting import exact, relative
from hookhub.models import Alert, AlertChannel, PortalSession
from hookhub.portal.access import Page, for_manager, for_session, page, require_safe_or_post
from hookhub.portal.alert_forms import KIND_NAMES, STATE_NAMES, TYPES, AlertChannelForm
from hookhub.portal.secret_pages import OVERLAPS
from hookhub.portal.words import too_many

P = ParamSpec("P")


def of_organization(view: "Page[P]") -> "Page[P]":
    """Let only sessions of a whole organization see a page: the channels of others are none of theirs."""

    @wraps(view)
    def shown(request: HttpRequest, session: PortalSession, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not session.is_of_organization:
            raise Http404
        return view(request, session, *args, **kwargs)

    return cast("Callable[Concatenate[HttpRequest, PortalSession, P], HttpResponse]", shown)


@require_safe
@for_session
@of_organization
def alerts(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """List the channels of the organization, and the latest alerts."""
    now = timezone.now()
    found = AlertChannel.objects.filter(organization=session.organization_id).select_related("repository")
    context = {
        "channels": [channel_row(channel, now=now) for channel in found.order_by("-id")],
        "rows": [alert_row(alert, now=now) for alert in history.recent_of(session)],
    }
    return page(request, session, "alerts.html", context)


@require_safe_or_post
@for_manager
@of_organization
def new(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Show the form of a new channel; create it, and show its secret this once if it has one."""
    data = request.POST if request.method == "POST" else None
    form = AlertChannelForm(data, organization=session.organization, channel=None)
    draft = request.POST.get("draft", "")
    uid = portal_sessions.read_draft(draft, session)
    status = 200
    if data is not None:
        if uid is None:
            form.add_error(None, gettext("This form is out of date. Check it, and create the channel again."))
        elif AlertChannel.objects.filter(organization=session.organization_id, pk=uid).exists():
            # The page was loaded again, or the button was pressed twice.
            return redirect("portal:alert-channel", uid=uid)
        elif form.is_valid() and (made := _create(request, session, form, uid)) is not None:
            return made
        status = 422
    context = {"form": form, "draft": draft if uid else portal_sessions.draft(session, now=timezone.now())}
    return page(request, session, "alert_channel_new.html", context, status=status)


def _create(request: HttpRequest, session: PortalSession, form: AlertChannelForm, uid: UUID) -> HttpResponse | None:
    """Create the channel of a form; return the next page, or None with the errors in the form."""
    try:
        channel, secret = channels.create(
            form.submitted, organization=session.organization, uid=uid, now=timezone.now()
        )
    except InvalidFields as error:
        form.show(error)
    except TooMany as error:
        form.add_error(None, too_many(error))
    except IntegrityError:
        # Two requests with the same form at once: the other one has created it.
        return redirect("portal:alert-channel", uid=uid)
    else:
        if secret is None:
            return redirect("portal:alerts")
        return show_secret(request, session, channel, secret, title=gettext("The channel is created"))
    return None


@require_safe_or_post
@for_manager
@of_organization
def edit(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show the settings of a channel, and change them."""
    channel = channel_of(session, uid)
    data = request.POST if request.method == "POST" else None
    form = AlertChannelForm(data, organization=session.organization, channel=channel)
    status = 200
    if data is not None:
        status = 422
        if form.is_valid():
            try:
                channels.change(channel, form.submitted, now=timezone.now())
                return redirect("portal:alerts")
            except InvalidFields as error:
                form.show(error)
            except TooMany as error:
                status = 429
                form.add_error(None, too_many(error))
    return page(request, session, "alert_channel.html", context_of(channel, form), status=status)


def show_secret(
    request: HttpRequest, session: PortalSession, channel: AlertChannel, secret: str, *, title: str
) -> HttpResponse:
    """Return the page that shows a channel's new secret; no page shows it again."""
    context = {"title": title, "channel": channel_row(channel, now=timezone.now()), "secret": secret}
    return page(request, session, "alert_channel_secret.html", context)


def context_of(channel: AlertChannel, form: AlertChannelForm) -> dict[str, object]:
    """Return the context of a channel's page; the version lets a form rotate the secret only once."""
    return {
        "form": form,
        "channel": channel_row(channel, now=timezone.now()),
        "signs": channel.type == AlertChannel.Type.WEBHOOK,
        "version": channels.version_of(channel),
        "overlaps": list(OVERLAPS.items()),
    }


@require_POST
@for_manager
@of_organization
def rotate(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Make a new secret for a channel, once for each form, and show it this once."""
    channel = channel_of(session, uid)
    overlap = request.POST.get("overlap", "")
    try:
        secret = channels.rotate_secret(
            channel,
            overlap=timedelta(seconds=int(overlap)) if overlap in OVERLAPS else None,
            version=request.POST.get("version", ""),
            now=timezone.now(),
        )
    except RotatedMeanwhile:
        said = gettext("The secret has been changed since this page was loaded. Nothing was changed now.")
    except vault.Unreadable:
        said = gettext("The stored secret cannot be decrypted. Create another channel, and delete this one.")
    else:
        return show_secret(request, session, channel, secret, title=gettext("The secret is rotated"))
    form = AlertChannelForm(None, organization=session.organization, channel=channel)
    return page(request, session, "alert_channel.html", {"error": said, **context_of(channel, form)}, status=409)


@require_POST
@for_manager
@of_organization
def test(_request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Send a test to a channel, and lead to the page that shows what becomes of it."""
    channels.send_test(channel_of(session, uid), now=timezone.now())
    return redirect("portal:alerts")


@require_POST
@for_manager
@of_organization
def delete(_request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Delete a channel."""
    channels.delete(channel_of(session, uid), now=timezone.now())
    return redirect("portal:alerts")


def channel_of(session: PortalSession, uid: UUID) -> AlertChannel:
    """Return a channel of the session's organization; raise Http404 for any other."""
    found = AlertChannel.objects.select_related("organization", "repository")
    channel = find_one(found.filter(organization=session.organization_id, pk=uid))
    if channel is None:
        raise Http404
    return channel


def channel_row(channel: AlertChannel, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of a channel."""
    recipients = ", ".join(channel.recipients) or gettext("the owners of the organization")
    if channel.paused_at is not None:
        health, tone = gettext("Paused"), "quiet"
    elif channel.failing_since is not None:
        health, tone = gettext("Failing"), "bad"
    elif channel.last_sent_at is not None:
        health, tone = gettext("Works"), "good"
    else:
        health, tone = gettext("Nothing sent yet"), "quiet"
    return {
        "id": channel.pk,
        "name": channel.name or str(dict(TYPES)[channel.type]),
        "type": dict(TYPES)[channel.type],
        "where": recipients if channel.type == AlertChannel.Type.EMAIL else channel.stored_url,
        "kinds": ", ".join(str(KIND_NAMES[kind]) for kind in channel.kinds),
        "repository": "" if channel.repository is None else channel.repository.name,
        "health": health,
        "tone": tone,
        "error": channel.last_error,
        "last": "–" if channel.last_sent_at is None else relative(channel.last_sent_at, now=now),
    }


def named(channel: str) -> str:
    """Return a channel's name as the log has it, where the type stands for the name of one without any."""
    return gettext(channel) if channel in AlertChannel.Type.labels else channel


def alert_row(alert: Alert, *, now: datetime) -> dict[str, Any]:
    """Return what is shown of an alert."""
    state, tone = STATE_NAMES[alert.state]
    webhook = alert.webhook
    is_there = webhook is not None and webhook.deleted_at is None
    return {
        "kind": KIND_NAMES[alert.kind],
        "percent": alert.percent,
        "webhook": "" if webhook is None else str(webhook),
        "uid": webhook.uid if webhook is not None and is_there else None,
        "to": gettext("the owners of the organization")
        if alert.channel_type == Alert.OWNERS
        else named(alert.channel_name),
        "state": state,
        "tone": tone,
        "error": alert.error,
        "created": relative(alert.created_at, now=now),
        "created_at": exact(alert.created_at),
    }
