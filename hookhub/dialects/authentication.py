"""Authentication by API key as other systems' clients send it: Basic, `token` and `Bearer`."""

import base64
import binascii

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from hookhub.http.authentication import UNKNOWN, KeyAuthentication, read_key

# No authentication by session: a dialect is for programs, and a logged-in browser must not be tricked into calling it.
HOW = "Send your API key as `Authorization: Bearer hh_…`, as `token hh_…`, or as the password of Basic authentication."


class CredentialsAuthentication(KeyAuthentication):
    """Authenticates requests that carry a valid API key, in any of the ways that clients send one."""

    def read_request(self, request: Request) -> tuple[str, str] | None:
        """Return the id and the secret of the request's key, or None without one; raise AuthenticationFailed."""
        header = request.headers.get("Authorization", "")
        return read_credentials(header) if header else None


def read_credentials(header: str) -> tuple[str, str]:
    """Return the id and the secret of the key in an Authorization header; raise AuthenticationFailed without one."""
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
    """Return what may be the key: the password, or the user name for clients that send a placeholder password."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, ValueError) as error:
        raise AuthenticationFailed(HOW) from error
    return [password, user]


class CredentialsScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]  # drf-spectacular's own
    """Describes these ways to authenticate in the OpenAPI document."""

    target_class = "hookhub.dialects.authentication.CredentialsAuthentication"
    name = ["ApiKeyAsBearer", "ApiKeyAsPassword"]  # noqa: RUF012 - the type is the framework's

    def get_security_definition(self, auto_schema: object) -> list[dict[str, str]]:
        """Return the security schemes in the form that OpenAPI defines."""
        return [
            {"type": "http", "scheme": "bearer", "bearerFormat": "hh_<id>_<secret>"},
            {"type": "http", "scheme": "basic"},
        ]
