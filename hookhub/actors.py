"""Who a request comes from, as the audit log names them."""

from django.contrib.auth.models import User
from django.http import HttpRequest

from deliveries.audit import Actor
from hookhub.client_address import address_of
from hookhub.models import ApiKey

MAX_REQUEST_ID_LENGTH = 100


def actor_of_key(key: ApiKey, request: HttpRequest) -> Actor:
    """Return the API key that a request was authenticated with as its actor."""
    return Actor("api_key", key.key_id, key.name, address_of(request.META), request_id_of(request))


def actor_of_session(request: HttpRequest) -> Actor:
    """Return the person who is logged in as a request's actor."""
    user = getattr(request, "user", None)
    if not isinstance(user, User):
        return Actor("anonymous", "", "", address_of(request.META), request_id_of(request))
    return Actor("person", user.get_username(), user.get_full_name(), address_of(request.META), request_id_of(request))


def request_id_of(request: HttpRequest) -> str:
    """Return the id that the client or a proxy gave the request, or nothing."""
    given = request.headers.get("X-Request-Id", "")[:MAX_REQUEST_ID_LENGTH]
    return given if given.isascii() and given.isprintable() else ""
