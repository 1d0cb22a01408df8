"""events/subscribe and events/unsubscribe: read the parameters, and ask the engine."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, NamedTuple

from django.db import transaction
from rest_framework.exceptions import AuthenticationFailed

from deliveries.db.lookups import find_one
from deliveries.formats.mcp_event import EVENTS_PATH
from deliveries.models import Repository
from deliveries.sending import url as urls
from deliveries.webhooks import mcp_subscribing, quotas
from deliveries.webhooks.fields import InvalidFields, check_url
from deliveries.webhooks.mcp_subscribing import Asked, Key, Subscription
from hookhub.http.authentication import UNKNOWN
from hookhub.http.links import url_of
from hookhub.mcp import event_types
from hookhub.mcp.context import Context
from hookhub.mcp.event_types import REPOSITORY
from hookhub.mcp.jsonrpc import CALLBACK_FAILED, EXHAUSTED, FORBIDDEN, RpcError, invalid_params
from hookhub.models import ApiKey

DEFAULT_TTL = timedelta(days=7)
MIN_TTL = timedelta(hours=1)
DISABLED_BY_OWNER = "The owner of the organization has disabled this subscription."
DISABLED_FOR_FAILING = "This subscription is disabled, because its callback kept failing: end it, then subscribe again."


class Target(NamedTuple):
    """What a call is about: an event by its name, arguments, and the callback with the normalized URL."""

    name: str
    arguments: dict[str, Any]
    url: str
    delivery: Mapping[str, Any]

    def key(self, context: Context) -> Key:
        """Return what the caller's subscription is known by."""
        return Key(context.organization.pk, context.caller, self.url, self.name, self.arguments)


def subscribe(params: Mapping[str, Any], context: Context) -> Asked:
    """Ask for a subscription, or for its renewal; raise RpcError if it cannot be had."""
    target = read_target(params)
    definition = event_types.find(target.name, organization=context.organization)
    if definition is None:
        raise invalid_params(f"name: there is no event {target.name[:100]!r}; events/list has all of them.")
    lasts = ttl_of(params)
    event_types.require_valid(target.arguments, definition)
    require_callback(target.url)
    subscription = subscription_of(target, context)
    try:
        with transaction.atomic():
            # A key that is revoked at the same time is revoked first, or ends this subscription, too.
            keys = ApiKey.objects.select_for_update(of=("self",), no_key=True)
            key = find_one(keys.filter(pk=context.key.pk, revoked_at=None))
            if key is None or key.has_expired(now=context.now):
                raise AuthenticationFailed(UNKNOWN)
            if key.expires_at is not None:
                lasts = min(lasts, key.expires_at - context.now)
            return mcp_subscribing.subscribe(
                subscription, organization=context.organization, lasts=lasts, now=context.now
            )
    except InvalidFields as error:
        problems = "; ".join(f"{FIELDS.get(name, name)} {text}" for name, text in error.errors.items())
        raise invalid_params(f"{problems}.") from error
    except quotas.LimitReached as error:
        message = "There are too many subscriptions in this organization, or to this host; the operator can allow more."
        raise RpcError(EXHAUSTED, message, data={"limit": "subscriptions"}) from error
    except mcp_subscribing.Disabled as error:
        raise RpcError(FORBIDDEN, DISABLED_BY_OWNER if error.by_owner else DISABLED_FOR_FAILING) from error


# The parameters that hold a webhook's fields.
FIELDS = {"secret": "delivery.secret", "url": "delivery.url", REPOSITORY: "arguments.repository"}


def unsubscribe(params: Mapping[str, Any], context: Context) -> dict[str, Any]:
    """End a subscription of the caller, if there is one; its event type may have been deleted."""
    mcp_subscribing.unsubscribe(read_target(params).key(context), now=context.now)
    return {}


def read_target(params: Mapping[str, Any]) -> Target:
    """Return what a call is about; raise RpcError unless it is well-formed."""
    name, arguments, delivery = params.get("name"), params.get("arguments"), params.get("delivery")
    if not isinstance(name, str):
        raise invalid_params("name must be the name of an event.")
    if not isinstance(arguments, dict | None):
        raise invalid_params("arguments must be an object.")
    event_types.require_short(arguments or {})
    if not isinstance(delivery, dict) or delivery.get("mode") != "webhook":
        raise invalid_params('delivery.mode must be "webhook".')
    callback = delivery.get("url")
    if not isinstance(callback, str):
        raise invalid_params("delivery.url must be a URL.")
    try:
        normalized = urls.normalise(callback)
    except ValueError as error:
        raise callback_failed("invalid_url", str(error)) from error
    return Target(name, arguments or {}, normalized, delivery)


def ttl_of(params: Mapping[str, Any]) -> timedelta:
    """Return for how long a subscription is granted: for ever is not possible, nor longer than by default."""
    asked = params.get("ttlMs")
    if asked is None:
        return DEFAULT_TTL
    if isinstance(asked, bool) or not isinstance(asked, int | float) or asked <= 0:
        raise invalid_params("ttlMs must be a positive number of milliseconds, or null.")
    if asked >= DEFAULT_TTL / timedelta(milliseconds=1):
        return DEFAULT_TTL
    return max(MIN_TTL, timedelta(milliseconds=asked))


def require_callback(url: str) -> None:
    """Raise RpcError unless a normalized URL is of https and may be sent to, as far as that is known without a look-up.

    The request that verifies it is guarded, and so is each delivery.
    """
    if not url.startswith("https://"):
        raise callback_failed("insecure_url", "The callback's URL must begin with https://.")
    try:
        check_url(url, resolve=None)
    except ValueError as error:
        raise callback_failed("blocked_address", str(error)) from error


def callback_failed(reason: str, message: str = "") -> RpcError:
    """Return the error of a callback that cannot be used, or has not proved itself."""
    text = message or f"The callback could not be verified: {reason}. There is no subscription."
    return RpcError(CALLBACK_FAILED, text, data={"reason": reason})


def subscription_of(target: Target, context: Context) -> Subscription:
    """Return what is asked for, in the engine's terms; raise RpcError for an unknown repository or no secret."""
    secret = target.delivery.get("secret")
    if not isinstance(secret, str):
        raise invalid_params("delivery.secret must be whsec_ followed by the base64 of 24 to 64 random bytes.")
    repository = None
    if REPOSITORY in target.arguments:
        named = Repository.objects.filter(organization=context.organization, name=target.arguments[REPOSITORY])
        repository = named.first()
        if repository is None:
            raise invalid_params("arguments.repository: there is no repository of this name.")
    return Subscription(
        key=target.key(context),
        secret=secret,
        repository=repository,
        payload_filter={name: value for name, value in target.arguments.items() if name != REPOSITORY},
        events=url_of(EVENTS_PATH, context.request),
    )
