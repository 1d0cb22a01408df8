"""User names and passwords in URLs, as GitHub's clients send them; deliveries carry them as a custom header."""

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote

from deliveries.formats import MASK

HEADER = "Authorization"
# Matches what precedes the @ of the host. A doubtful URL does not match, stays whole, and is then rejected.
USERINFO = re.compile(
    r"(?P<scheme>https?://)(?P<userinfo>[^@/?#\\\s]+)@(?P<rest>[^@/?#\\\s]+([/?#].*)?)", re.IGNORECASE | re.DOTALL
)


def split(url: str) -> tuple[str, str | None]:
    """Return a URL without its user name and password, and these as written there, or None."""
    found = USERINFO.fullmatch(url)
    if found is None:
        return url, None
    return found["scheme"] + found["rest"], found["userinfo"]


def as_header(userinfo: str) -> str:
    """Return the header value for a user name and password; raise ValueError for a name with a colon."""
    user, _, password = userinfo.partition(":")
    if ":" in unquote(user):
        raise ValueError("must not contain a user name with a colon")
    text = f"{unquote(user)}:{unquote(password)}".encode(errors="surrogatepass")
    return "Basic " + base64.b64encode(text).decode()


def is_of_a_url(value: str) -> bool:
    """Return whether the value of a header may come from a URL's user name and password."""
    return value.startswith("Basic ")


def shown(url: str, headers: Mapping[str, str]) -> str:
    """Return a URL with a mask in place of its user name and password."""
    if not is_of_a_url(headers.get(HEADER, "")):
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{MASK}@{rest}"
