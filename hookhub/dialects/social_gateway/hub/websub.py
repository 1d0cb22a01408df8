"""Subscribes and unsubscribes in WebSub's way: the callback must prove that it wants the subscription."""

import time
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from rest_framework.request import Request

from deliveries import rates
from deliveries.models import Repository
from deliveries.rates import Policy
from deliveries.webhooks import denials, quotas, subscribing
from deliveries.webhooks.fields import InvalidFields
from deliveries.webhooks.subscribing import Subscription
from hookhub.dialects.social_gateway import hook_changes
from hookhub.dialects.social_gateway.hub import topics
from hookhub.dialects.social_gateway.hub.requests import Mode
from hookhub.dialects.social_gateway.hub.websub_requests import Refused, WebSubRequest, granted
from hookhub.http.client_address import address_of, subject_of

# Anybody may make the hub send a request to a callback.
BY_CLIENT = Policy("hub-of-address")
BY_HOST = Policy("hub-of-callback-host")

# The same whether the repository is private or does not exist.
NOT_FOUND = "There is no such topic, or it is private."
TOO_MANY = "There are too many subscriptions to the topic or of the callback's host; the operator can raise the limit."


def take_request(asked: WebSubRequest, request: Request, *, now: float) -> None:
    """Count a request of its client and for the host of its callback; raise rates.TooMany above a limit."""
    limits = [
        (BY_CLIENT, subject_of(address_of(request.META)), settings.HOOKHUB_HUB_REQUESTS_PER_ADDRESS),
        (BY_HOST, urlsplit(asked.callback).hostname or "", settings.HOOKHUB_HUB_REQUESTS_PER_HOST),
    ]
    rates.take_all(limits, now=now)


def perform(asked: WebSubRequest, request: Request, *, hub: str, now: datetime) -> None:
    """Begin what a subscriber asks for; raise Refused if the callback is not allowed, and rates.TooMany.

    Whether it takes effect depends on what the callback answers to the request that a worker sends. A topic that the
    caller must not see is denied by such a request, too, so that the response here tells nothing about it; nor does it
    tell whether the callback has the subscription already, which counts against no limit.
    """
    take_request(asked, request, now=time.time())
    require_allowed(asked.callback)
    if asked.mode is Mode.UNSUBSCRIBE:
        unsubscribe(asked, hub=hub, now=now)
        return
    reason = subscribe(asked, request, hub=hub, now=now)
    # It may have been made with a key. Without one, anybody could have its subscriber told that it has ended.
    if reason is not None and not subscribing.is_in_force(subscription_of(asked, hub=hub)):
        denials.deny(asked.callback, topic=asked.topic_text, reason=reason, now=now)


def subscribe(asked: WebSubRequest, request: Request, *, hub: str, now: datetime) -> str | None:
    """Ask the callback whether it wants the subscription; return why that is denied, or None."""
    repository = repository_of(asked, request, hub=hub)
    if repository is None or not is_topic(asked.topic.event, repository=repository):
        return NOT_FOUND
    is_public = not topics.has_access(request, repository)
    subscription = subscription_of(asked, hub=hub, is_public=is_public)
    try:
        webhook = subscribing.subscribe(subscription, repository=repository, lasts=granted_to(asked), now=now)
    except quotas.LimitReached:
        return TOO_MANY
    return None if webhook is not None else NOT_FOUND


def unsubscribe(asked: WebSubRequest, *, hub: str, now: datetime) -> None:
    """Ask the callback whether its subscription is to end, also if the request has no key and the topic is private.

    The subscriber itself may have lost its key. Anybody else learns nothing from this.
    """
    subscribing.unsubscribe(subscription_of(asked, hub=hub), now=now)


def repository_of(asked: WebSubRequest, request: Request, *, hub: str) -> Repository | None:
    """Return the topic's repository; None if there is none that the caller may see.

    A subscription is renewed at the topic that it was made for, also if its repository has another name by now.
    """
    named = topics.visible_repository(request, asked.topic.owner, asked.topic.repo)
    if named is not None:
        return named
    renamed = subscribing.renamed_repository(subscription_of(asked, hub=hub))
    return renamed if renamed is not None and topics.is_visible(request, renamed) else None


def subscription_of(asked: WebSubRequest, *, hub: str, is_public: bool = False) -> Subscription:
    """Return what is asked for, in the engine's terms."""
    return Subscription(
        callback=asked.callback,
        topic=asked.topic_text,
        hub=hub,
        event=asked.topic.event,
        secret=asked.secret,
        algorithm=asked.algorithm,
        is_public=is_public,
        sent_back=asked.sent_back,
    )


def granted_to(asked: WebSubRequest) -> timedelta:
    """Return the lease that the subscription gets, by the settings."""
    return granted(
        asked.lease,
        default=settings.HOOKHUB_HUB_LEASE,
        least=settings.HOOKHUB_HUB_MIN_LEASE,
        most=settings.HOOKHUB_HUB_MAX_LEASE,
    )


def require_allowed(callback: str) -> None:
    """Raise Refused if the callback's text alone shows that it is not allowed, whatever the topic is."""
    try:
        subscribing.check_callback(callback)
    except InvalidFields as error:
        raise Refused([f"hub.callback is not allowed. {error.errors['url']}"]) from error


def is_topic(event: str, *, repository: Repository) -> bool:
    """Return whether a repository has events of this type."""
    return not hook_changes.unknown_events([event], organization=repository.organization)
