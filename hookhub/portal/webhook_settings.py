"""The pages on which an owner creates a webhook, and changes one."""

from uuid import UUID

from django.db import IntegrityError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.translation import gettext

from deliveries import timezone, vault
from deliveries.models import Repository, Webhook
from deliveries.rates import TooMany
from deliveries.webhooks import changing, creating
from deliveries.webhooks.changing import ChangedMeanwhile
from deliveries.webhooks.fields import InvalidFields
from hookhub import portal_sessions
from hookhub.models import PortalSession
from hookhub.portal.access import for_manager, page, refused, require_safe_or_post
from hookhub.portal.finding import webhook_of
from hookhub.portal.secret_pages import pending_verification, show_once
from hookhub.portal.showing import webhook_row
from hookhub.portal.webhook_forms import FIELDS, WebhookForm
from hookhub.portal.webhook_values import initial_of, read_version, version_of
from hookhub.portal.words import too_many


@require_safe_or_post
@for_manager
def new(request: HttpRequest, session: PortalSession) -> HttpResponse:
    """Show the form of a new webhook; create it, and show its secret this once."""
    if not session.may_create:
        return refused(request, session)
    form = WebhookForm(
        request.POST if request.method == "POST" else None,
        organization=session.organization,
        webhook=None,
        names_repository=session.repository_id is None,
    )
    draft = request.POST.get("draft", "")
    uid = portal_sessions.read_draft(draft, session)
    status = 200
    if request.method == "POST":
        if uid is None:
            form.add_error(None, gettext("This form is out of date. Check it, and create the webhook again."))
        elif portal_sessions.webhooks_of(session).filter(uid=uid).exists():
            # The page was loaded again, or the button was pressed twice.
            return redirect("portal:webhook", uid=uid)
        elif form.is_valid() and (made := _create(request, session, form, uid)) is not None:
            return made
        status = 422
    context = {"form": form, "draft": draft if uid else portal_sessions.draft(session, now=timezone.now())}
    return page(request, session, "webhook_new.html", context, status=status)


def _create(request: HttpRequest, session: PortalSession, form: WebhookForm, uid: UUID) -> HttpResponse | None:
    """Create the webhook of a form; return the page with its secret, or None with the errors in the form."""
    try:
        webhook, secret = creating.create(
            form.submitted,
            organization=session.organization,
            repository=_repository_for(session, form),
            uid=uid,
            now=timezone.now(),
        )
    except InvalidFields as error:
        form.show(error)
        return None
    except TooMany as error:
        form.add_error(None, too_many(error))
        return None
    except IntegrityError:
        if not Webhook.objects.filter(uid=uid).exists():
            raise
        # Two requests with the same form at once: the other one has created it.
        return redirect("portal:webhook", uid=uid)
    return show_once(request, session, webhook, secret, title=gettext("The webhook is created"))


def _repository_for(session: PortalSession, form: WebhookForm) -> Repository | None:
    """Return the repository of the session, or the one that is typed; None for the organization's events."""
    if session.repository_id is not None:
        return session.repository
    name = form.cleaned_data["repository"].rpartition("/")[2] if form.cleaned_data.get("repository") else ""
    if not name:
        return None
    found = Repository.objects.filter(organization=session.organization_id, name=name).first()
    if found is None:
        raise InvalidFields({"repository": gettext("There is no repository of this name.")})
    return found


@require_safe_or_post
@for_manager
def edit(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show the settings of a webhook, and change those that the form has changed."""
    webhook = webhook_of(session, uid)
    data = request.POST if request.method == "POST" else None
    form = WebhookForm(data, organization=session.organization, webhook=webhook)
    status, differences = 200, None
    if data is not None:
        status = 422
        if form.is_valid():
            if not form.submitted:
                return redirect("portal:webhook", uid=uid)
            try:
                return _change(request, session, form, webhook)
            except InvalidFields as error:
                form.show(error)
            except ChangedMeanwhile:
                webhook, status = webhook_of(session, uid), 409
                differences = stored_now(form, webhook)
            except vault.Unreadable:
                form.add_error(
                    None, gettext("What is stored cannot be decrypted. Enter the URL and all headers again.")
                )
            except TooMany as error:
                status = 429
                form.add_error(None, too_many(error))
    context = {
        "form": form,
        "webhook": webhook_row(webhook, now=timezone.now()),
        "version": version_of(webhook) if differences is not None or data is None else data.get("version", ""),
        "differences": differences,
        "subscription": subscription_of(webhook),
        "verification": pending_verification(webhook),
        "moves": gettext("Another URL gets a new secret, shown once after saving, and none of the stored headers."),
    }
    return page(request, session, "webhook_settings.html", context, status=status)


def _change(request: HttpRequest, session: PortalSession, form: WebhookForm, webhook: Webhook) -> HttpResponse:
    """Make the changes of a form, and lead on, by way of the new secret if there is one."""
    unchanged_since = read_version(request.POST.get("version", ""))
    changed, secret = changing.change(webhook.pk, form.submitted, unchanged_since=unchanged_since, now=timezone.now())
    if secret is None:
        return redirect("portal:webhook", uid=webhook.uid)
    return show_once(request, session, changed, secret, title=gettext("Saved, with a new secret"))


def stored_now(form: WebhookForm, webhook: Webhook) -> list[tuple[str, str]]:
    """Return what is stored in the fields that a form would change, each with its label."""
    stored = initial_of(webhook)
    found = []
    for submitted in form.submitted:
        name = FIELDS.get(submitted, submitted)
        for each in ("rate_requests", "rate_per") if name == "rate_requests" else (name,):
            field = form.fields.get(each)
            if field is not None:
                found.append((str(field.label), _text(stored.get(each, stored.get(submitted)))))
    return found


def _text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else "–" if value in {None, ""} else str(value)


def subscription_of(webhook: Webhook) -> str:
    """Return who has subscribed a webhook that was not created here or by the API, and what follows; "" for others."""
    match webhook.subscription:
        case {"topic": _}:
            return gettext(
                "Its receiver has subscribed at the hub, and can renew, change and end this subscription at any time."
            )
        case {"id": _}:
            return gettext(
                "An agent has subscribed by MCP, and can renew, change and end this subscription at any time."
            )
    return ""
