"""API keys as the clients of other systems send them: Basic, `token` and `Bearer`."""

import base64
import binascii

from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from deliveries import audit
from hookhub.actors import actor_of_key
from hookhub.api.authentication import UNKNOWN, KeyHolder, find, read_key, verified
from hookhub.models import ApiKey
from hookhub.request_log import name_caller

# No session: a dialect is for programs, and a browser that is logged in must not be made to speak it.
HOW = "Send your API key: `Authorization: Bearer hh_…`, `token hh_…`, or Basic with the key as the password."


class CredentialsAuthentication(BaseAuthentication):
    """Lets in whoever brings a key that is not revoked, in any of the ways clients have."""

    def authenticate(self, request: Request) -> tuple[KeyHolder, ApiKey] | None:
        """Give the key's holder and the key, or None when there is no Authorization header at all."""
        header = request.headers.get("Authorization", "")
        if not header:
            return None
        key_id, secret = read_credentials(header)
        key = verified(find(key_id), secret, request=request, now=timezone.now())
        audit.identify(lambda: actor_of_key(key, request))
        name_caller(request.META, key)
        return KeyHolder(), key

    def authenticate_header(self, request: Request) -> str:
        """Have a missing key answered with 401."""
        del request
        return 'Bearer realm="hookhub"'


def read_credentials(header: str) -> tuple[str, str]:
    """Give the id and the secret of the key that an Authorization header holds; raises AuthenticationFailed."""
    scheme, _, rest = header.partition(" ")
    match scheme.lower():
        case "bearer" | "token":
            texts = [rest.strip()]
        case "basic":
            texts = _basic(rest.strip())
        case _:
            raise AuthenticationFailed(HOW)
    for text in texts:
        if (found := read_key(text)) is not None:
            return found
    raise AuthenticationFailed(UNKNOWN)


def _basic(encoded: str) -> list[str]:
    """Give what may be the key: the password, or the user name where the password only fills the place."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise AuthenticationFailed(HOW) from error
    return [password, user]


class CredentialsScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's own
    """Tells the OpenAPI document how to come in."""

    target_class = "hookhub.dialects.authentication.CredentialsAuthentication"
    name = ["ApiKeyAsBearer", "ApiKeyAsPassword"]  # noqa: RUF012 - the type is the framework's

    def get_security_definition(self, auto_schema: object) -> list[dict[str, str]]:
        """Give the schemes as OpenAPI has them."""
        del auto_schema
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "hh_<id>_<secret>"},
            {"type": "http", "scheme": "basic"},
        ]
