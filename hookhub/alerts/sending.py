"""Send the alerts that are due: requests at once, then e-mails, and record what became of each."""

import logging
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from smtplib import SMTPException

from django.core.mail import EmailMultiAlternatives
from django.db import Error

from deliveries import vault
from deliveries.formats import Format, format_of
from deliveries.models import Webhook
from deliveries.plain_text import on_one_line
from deliveries.policy.outcomes import Delivered, Failed, Gone, NoResponse, classify
from deliveries.sending.exchange import Exchange, Request
from deliveries.sending.sender import Sender, certificates_from_settings, policy_from_settings
from hookhub.alerts import channels, queue, rendering
from hookhub.alerts.queue import Claim, Postponed, Rejected, Result, Sent
from hookhub.alerts.wording import wording_of
from hookhub.models import Alert, AlertChannel, AlertKind
from hookhub.notifications.mailer import is_temporary, rejections
from hookhub.notifications.recipients import owners_of

log = logging.getLogger("hookhub.notices")

Type = AlertChannel.Type

# The deadline of one request: other alerts wait for the batch.
TIMEOUT = timedelta(seconds=5)
MAX_ANSWER = 1024
# After this many e-mails in a row that the mail server did not take, none of the batch is tried: one address at which
# it fails must not stop all others.
MAX_UNTAKEN = 2
UNWRITTEN = "It could not be written; the server's log has the reason."


def send_due(*, now: datetime) -> int:
    """Send one batch of alerts; return how many are done with. What cannot be sent is tried again at a later tick."""
    claims = []
    done = 0
    for claim in queue.claim(now=now):
        true = tuple(alert for alert in claim.alerts if not is_stale(alert))
        if len(true) < len(claim.alerts):
            stale = claim._replace(alerts=tuple(alert for alert in claim.alerts if alert not in true))
            # The channel stays leased while the rest is sent.
            done += queue.drop(stale if not true else stale._replace(channel=None), now=now)
        if true:
            claims.append(claim._replace(alerts=true))
    requests = [claim for claim in claims if claim.channel is not None and claim.channel.type != Type.EMAIL]
    done += sum(queue.record(claim, result, now=now) for claim, result in _send_requests(requests, now=now))
    mails = [claim for claim in claims if claim.channel is None or claim.channel.type == Type.EMAIL]
    return done + _send_mails(mails, now=now)


def is_stale(alert: Alert) -> bool:
    """Return whether an alert is no longer true, because it had to wait."""
    if alert.kind in {AlertKind.TEST, AlertKind.RECOVERED}:
        return False
    webhook = alert.webhook
    if webhook is None or webhook.deleted_at is not None:
        return True
    if alert.kind == AlertKind.DISABLED:
        return webhook.disabled_at != alert.about
    if alert.kind == AlertKind.FAILING:
        return webhook.disabled_at is not None or not webhook.announced_percent
    return webhook.expires_at != alert.about


# Requests -------------------------------------------------------------------------------------------------------------


def _send_requests(claims: Sequence[Claim], *, now: datetime) -> Iterable[tuple[Claim, Result]]:
    """Send alerts by HTTP, all at once; yield what became of each as soon as it is known."""
    if not claims:
        return
    sender = make_sender()
    try:
        for index, claim in enumerate(claims):
            try:
                sender.start(request_of(claim, now=now), token=index)
            except vault.Unreadable as error:
                yield claim, Rejected(f"The URL or the secret cannot be decrypted: {error}")
            except Error:
                raise
            except Exception:  # One alert that cannot be written must not keep all others from being sent.
                log.exception("Could not write alert %s", claim.alert.pk)
                yield claim, Rejected(UNWRITTEN)
        while sender.in_flight:
            for token, exchange in sender.wait(timedelta(seconds=1)):
                claim = claims[int(str(token))]
                yield claim, result_of(exchange, wire_format=answers_as(claim), now=now)
    finally:
        sender.close()


def make_sender() -> Sender:
    """Return a sender with the guard of all others, which reads little of an answer."""
    return Sender(
        slots=queue.MAX_REQUESTS,
        policy=policy_from_settings(),
        certificates=certificates_from_settings(),
        body_kept=MAX_ANSWER,
    )


def request_of(claim: Claim, *, now: datetime) -> Request:
    """Return the request that sends an alert. Raise vault.Unreadable."""
    alert, channel = claim.alert, claim.channel
    if channel is None:
        raise TypeError(alert)
    if channel.type == Type.WEBHOOK:
        headers, body = rendering.standard_webhook(
            alert.kind,
            data_of(alert, alert.webhook),
            alert_id=str(alert.pk),
            secrets=tuple(secret.text for secret in channels.secrets_of(channel) if secret.is_live(now)),
            created_at=alert.created_at,
            now=now,
        )
        return Request(channel.url, headers, body, TIMEOUT)
    write = rendering.slack if channel.type == Type.SLACK else rendering.teams
    return Request(channel.url, rendering.JSON, write(wording_of(claim.alerts)), TIMEOUT)


def data_of(alert: Alert, webhook: Webhook | None) -> dict[str, object]:
    """Return the data of an alert that programs read: that of the system event, or of a test."""
    if webhook is None:
        return {"message": "This is a test.", "organization": alert.organization.slug}
    about = {"id": str(webhook.uid), "name": webhook.name, "url": webhook.shown_url}
    return {"webhook": about, **alert.details}


def answers_as(claim: Claim) -> Format:
    """Return the format that knows what an answer means."""
    is_slack = claim.channel is not None and claim.channel.type == Type.SLACK
    return format_of("slack" if is_slack else "standard-webhooks")


def result_of(exchange: Exchange, *, wire_format: Format, now: datetime) -> Result:
    """Return what an exchange means for its alert."""
    response = exchange.result
    if isinstance(response, NoResponse):
        return Postponed(on_one_line(response.error))
    outcome = classify(
        response.status,
        retry_after=response.header("retry-after"),
        body=response.body,
        wire_format=wire_format,
        now=now,
    )
    match outcome:
        case Delivered():
            return Sent()
        case Gone() | Failed(is_final=True):
            return Rejected(f"The receiver answered {response.status}.")
        case Failed(_, retry_after, _):
            return Postponed(f"The receiver answered {response.status}.", retry_after)
        case NoResponse():
            return Postponed(on_one_line(outcome.error))


# E-mails --------------------------------------------------------------------------------------------------------------


def _send_mails(claims: Sequence[Claim], *, now: datetime) -> int:
    """Send e-mails one after the other and record each; without a mail server, only MAX_UNTAKEN are tried."""
    done, untaken, last = 0, 0, None
    for claim in claims:
        result = last if untaken >= MAX_UNTAKEN and last is not None else send_mail(claim)
        is_untaken = isinstance(result, Postponed) and result.is_kept
        untaken, last = (untaken + 1, result) if is_untaken else (0, None)
        done += queue.record(claim, result, now=now)
    return done


def send_mail(claim: Claim) -> Result:
    """Send alerts by e-mail, as text and as HTML; return what became of them."""
    alert, channel = claim.alert, claim.channel
    addresses = [] if channel is None else channel.recipients
    addresses = addresses or owners_of(alert.organization_id)
    others = f" and {len(claim.alerts) - 1} others" if len(claim.alerts) > 1 else ""
    what = f"the e-mail about webhook {'–' if alert.webhook is None else alert.webhook.uid}{others}"
    if not addresses:
        log.warning("Could not send %s: no owner of %s has an e-mail address", what, alert.organization)
        return Rejected("No owner of the organization has an e-mail address.")
    try:
        wording = wording_of(claim.alerts)
        text, html = rendering.email(wording)
        mail = EmailMultiAlternatives(f"[HookHub] {wording.subject}", text, None, addresses)
        mail.attach_alternative(html, "text/html")
        mail.send()
    except (SMTPException, OSError) as error:
        reason = on_one_line(str(error))
        codes = rejections(error)
        if not codes:
            log.warning("Could not send %s; will retry: %s", what, reason)
            return Postponed(f"The mail server is unavailable: {reason}", is_kept=True)
        if is_temporary(codes):
            log.warning("The mail server rejected %s for now; will retry: %s", what, reason)
            return Postponed(f"The mail server rejected it for now: {reason}")
        log.exception("The mail server rejected %s", what)
        return Rejected(f"The mail server rejected it: {reason}")
    except Error:
        raise
    except Exception:  # As above.
        log.exception("Could not write %s", what)
        return Rejected(UNWRITTEN)
    return Sent()
