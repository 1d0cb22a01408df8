"""The portal's page about signatures: code that verifies them, and a form that finds out why one is not valid."""

import time
from datetime import timedelta
from uuid import UUID

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from deliveries import previews, rates, timezone, vault
from deliveries.models import Delivery, Webhook
from deliveries.rates import Policy, TooMany
from hookhub.models import PortalSession
from hookhub.portal import signature_check, snippets
from hookhub.portal.access import for_session, page, require_safe_or_post
from hookhub.portal.finding import webhook_of
from hookhub.portal.showing import webhook_row
from hookhub.portal.signature_check import Finding, Known
from hookhub.portal.snippets import LANGUAGES, Scheme
from hookhub.portal.words import too_many

MAX_HEADERS = 16 * 1024
MAX_BODY = 256 * 1024
MAX_SECRET = 255
# By session: enough for people, and few for a program that tries secrets.
CHECKS = Policy("signature-checks", window=timedelta(minutes=1))
CHECKS_A_MINUTE = 30


@sensitive_post_parameters("secret", "headers", "body")
@require_safe_or_post
@for_session
def verification(request: HttpRequest, session: PortalSession, uid: UUID) -> HttpResponse:
    """Show how to verify requests to a webhook, and check the signature of one that was pasted."""
    webhook, now = webhook_of(session, uid), timezone.now()
    scheme = snippets.scheme_of(webhook)
    status, findings = 200, []
    if request.method == "POST" and scheme is not None:
        try:
            rates.take(CHECKS, str(session.pk), quota=CHECKS_A_MINUTE, now=time.time())
            findings = checked(request, session, webhook, scheme)
        except TooMany as error:
            status, findings = 429, [Finding("bad", too_many(error))]
    context = {
        "webhook": webhook_row(webhook, now=now),
        "scheme": scheme,
        "snippets": [(LANGUAGES[name], code) for name, code in snippets.snippets_of(scheme).items()] if scheme else [],
        "has_secret": vault.has_secret(webhook),
        "uses_stored": session.may_manage,
        "findings": findings,
        # What was pasted, but for the secret.
        "headers": request.POST.get("headers", "")[:MAX_HEADERS],
        "body": request.POST.get("body", "")[:MAX_BODY],
    }
    return page(request, session, "verification.html", context, status=status)


@sensitive_variables()
def checked(request: HttpRequest, session: PortalSession, webhook: Webhook, scheme: Scheme) -> list[Finding]:
    """Return what is right and wrong with the request in a form."""
    texts = {name: request.POST.get(name, "") for name in ("headers", "body")}
    for name, most, label in (("headers", MAX_HEADERS, _("headers")), ("body", MAX_BODY, _("body"))):
        if len(texts[name]) > most:
            text = _("The %(name)s may have %(most)d characters; use the code above for longer ones.")
            return [Finding("bad", text % {"name": label, "most": most})]
    given = request.POST.get("secret", "").strip()
    if len(given) > MAX_SECRET:
        return [Finding("bad", _("The secret is too long."))]
    # A session that may only look must not learn whether a secret that it guesses is the webhook's.
    if not given and not session.may_manage:
        return [Finding("bad", _("Enter the secret. A session that may only look cannot use the stored one."))]
    try:
        stored = vault.secrets_of(webhook) if session.may_manage else ()
    except vault.Unreadable:
        stored = ()
    if not given and not stored:
        return [Finding("bad", _("The webhook has no secret that could be used, so its requests are not signed."))]
    headers = signature_check.read_headers(texts["headers"])
    recorded = recorded_body(webhook, headers.get(scheme.id_header.lower(), "") if scheme.id_header else "")
    known = Known(given, stored, recorded)
    return signature_check.check(headers, texts["body"], scheme=scheme, known=known, now=timezone.now())


def recorded_body(webhook: Webhook, identifier: str) -> bytes | None:
    """Return the body of the webhook's delivery with this id, or for ``mcp-event`` of the event; None without one."""
    try:
        uid = UUID(identifier)
    except ValueError:
        return None
    column = "event_id" if webhook.format == "mcp-event" else "pk"
    found = Delivery.objects.filter(webhook=webhook, **{column: uid}).select_related("repository", "event").first()
    return None if found is None else previews.body_of(found, webhook, now=timezone.now())
