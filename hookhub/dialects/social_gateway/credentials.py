"""User names and passwords in URLs, which GitHub's clients put there and which are sent as a header of the owner's."""

import base64
import re
from collections.abc import Mapping
from urllib.parse import unquote

from deliveries.formats import MASK

HEADER = "Authorization"
# What stands before the @ of the host; where anything is doubtful the URL stays whole, and is refused as it is.
USERINFO = re.compile(
    r"(?P<scheme>https?://)(?P<userinfo>[^@/?#\\\s]+)@(?P<rest>[^@/?#\\\s]+([/?#].*)?)", re.IGNORECASE | re.DOTALL
)


def split(url: str) -> tuple[str, str | None]:
    """Give a URL without its user name and password, and these as they stand there, or None."""
    found = USERINFO.fullmatch(url)
    if found is None:
        return url, None
    return found["scheme"] + found["rest"], found["userinfo"]


def as_header(userinfo: str) -> str:
    """Write a user name and a password as the header that carries them; raises ValueError for a name with a colon."""
    user, _, password = userinfo.partition(":")
    if ":" in unquote(user):
        raise ValueError("a user name cannot have a colon in it")
    text = f"{unquote(user)}:{unquote(password)}".encode(errors="surrogatepass")
    return "Basic " + base64.b64encode(text).decode()


def is_of_a_url(value: str) -> bool:
    """Tell whether a header's value is one that a URL's user name and password became."""
    return value.startswith("Basic ")


def shown(url: str, headers: Mapping[str, str]) -> str:
    """Give a URL with a mask where the user name and the password were."""
    if not is_of_a_url(headers.get(HEADER, "")):
        return url
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{MASK}@{rest}"
