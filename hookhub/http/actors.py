"""Identifies the actor of a request for the audit log."""

from django.contrib.auth.base_user import AbstractBaseUser
from django.http import HttpRequest

from deliveries.audit import Actor
from hookhub import people
from hookhub.http.client_address import address_of
from hookhub.models import ApiKey

MAX_REQUEST_ID_LENGTH = 100


def actor_of_key(key: ApiKey, request: HttpRequest) -> Actor:
    """Return the API key that authenticated a request as its actor."""
    return Actor("api_key", key.key_id, key.name, address_of(request.META), request_id_of(request))


def actor_of_session(request: HttpRequest) -> Actor:
    """Return the logged-in user as a request's actor, or the anonymous actor."""
    user = getattr(request, "user", None)
    if not isinstance(user, AbstractBaseUser):
        return Actor("anonymous", "", "", address_of(request.META), request_id_of(request))
    return Actor(
        "person", user.get_username(), people.full_name_of(user), address_of(request.META), request_id_of(request)
    )


def request_id_of(request: HttpRequest) -> str:
    """Return the request id set by the client or a proxy, or "" if it is missing or not printable ASCII."""
    given = request.headers.get("X-Request-Id", "")[:MAX_REQUEST_ID_LENGTH]
    return given if given.isascii() and given.isprintable() else ""
