"""Subscribes and unsubscribes in WebSub's way: the callback must prove that it wants the subscription."""

import time
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from django.conf import settings
from rest_framework.request import Request

from deliveries import rates
from deliveries.models import Repository
from deliveries.rates import Policy
from deliveries.sending.own_hosts import own_hosts_from_settings
from deliveries.sending.sender import policy_from_settings
from deliveries.sending.url import check, resolve_quickly
from deliveries.webhooks import denials, subscribing
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
    caller must not see is denied by such a request, too, so that the response here tells nothing about it.
    """
    take_request(asked, request, now=time.time())
    require_allowed(asked.callback)
    if asked.mode is Mode.UNSUBSCRIBE:
        unsubscribe(asked, hub=hub, now=now)
        return
    repository = topics.visible_repository(request, asked.topic.owner, asked.topic.repo)
    if repository is not None and is_topic(asked.topic.event, repository=repository):
        is_public = not topics.has_access(request, repository)
        wanted = subscription_of(asked, hub=hub, is_public=is_public)
        subscribing.subscribe(wanted, repository=repository, lasts=granted_to(asked), now=now)
    elif not is_subscribed(asked):
        denials.deny(asked.callback, topic=asked.topic_text, reason=NOT_FOUND, now=now)


def unsubscribe(asked: WebSubRequest, *, hub: str, now: datetime) -> None:
    """Ask the callback whether its subscription is to end, also if the request has no key and the topic is private.

    The subscriber itself may have lost its key. Anybody else learns nothing from this.
    """
    repository = topics.find_repository(asked.topic.owner, asked.topic.repo)
    if repository is not None:
        wanted = subscription_of(asked, hub=hub, is_public=False)
        subscribing.unsubscribe(wanted, repository=repository, now=now)


def subscription_of(asked: WebSubRequest, *, hub: str, is_public: bool) -> Subscription:
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
    """Raise Refused unless the guard allows the callback's host and port, whatever the topic is."""
    try:
        url = check(
            callback, policy=policy_from_settings(), https_only=settings.HOOKHUB_HTTPS_ONLY, resolve=resolve_quickly
        )
    except ValueError as error:
        raise Refused([f"hub.callback is not allowed. {error}"]) from error
    if (reason := own_hosts_from_settings().reason_against(url)) is not None:
        raise Refused([f"hub.callback is not allowed. {reason}"])


def is_subscribed(asked: WebSubRequest) -> bool:
    """Return whether the callback has this subscription already.

    It may have been made with a key. Without one, anybody could have its subscriber told that it has ended.
    """
    repository = topics.find_repository(asked.topic.owner, asked.topic.repo)
    return repository is not None and subscribing.exists(asked.callback, topic=asked.topic_text, repository=repository)


def is_topic(event: str, *, repository: Repository) -> bool:
    """Return whether a repository has events of this type."""
    return not hook_changes.unknown_events([event], organization=repository.organization)
