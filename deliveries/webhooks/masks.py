"""Masks in requests: a client that sends back a masked value means the value that is stored."""

from collections.abc import Mapping
from urllib.parse import parse_qsl, unquote, urlsplit

from deliveries.formats import MASK

SEND_THE_SECRET = "is masked; send the secret itself"  # noqa: S105 - a sentence
SEND_THE_SECRET_AGAIN = "is masked, but the URL changed; send the secret itself, or omit it to generate a new one"  # noqa: S105
SEND_ANOTHER_SECRET = (
    "is masked, but the stored secret is invalid for this format; send another, or omit it to generate a new one"  # noqa: S105
)


def is_masked_url(url: str) -> bool:
    """Return whether any part of the URL is a mask: user name, password, path segment, or query name or value."""
    try:
        parts = urlsplit(url)
        query = parse_qsl(parts.query, keep_blank_values=True)
    except ValueError:
        # The query has too many fields, or the host's brackets hold no address. URL validation reports such a URL.
        return False
    userinfo = parts.netloc.rpartition("@")[0].split(":")
    return MASK in {unquote(part) for part in (*userinfo, *parts.path.split("/"))} or any(
        MASK in pair for pair in query
    )


def unmask_headers(headers: Mapping[str, object], *, stored: Mapping[str, str], moves: bool) -> dict[str, object]:
    """Return the headers with each mask replaced by the value stored under that name; names ignore case.

    Raise ValueError if no value is stored under that name, or if ``moves`` is true: a stored value must not be sent to
    another receiver.
    """
    values = {name.lower(): value for name, value in stored.items()}
    unmasked: dict[str, object] = {}
    for name, value in headers.items():
        if value != MASK:
            unmasked[name] = value
        elif name.lower() not in values:
            raise ValueError(
                f"the value of {name[:100]} is masked, but no value is stored under that name; send the value itself"
            )
        elif moves:
            raise ValueError(f"the value of {name} is masked, but the URL changed; send the value itself")
        else:
            unmasked[name] = values[name.lower()]
    return unmasked


def merge_headers(changes: Mapping[str, object], *, stored: Mapping[str, str]) -> dict[str, object]:
    """Return the stored headers with ``changes`` applied: None removes a header; names ignore case."""
    lowered = {name.lower() for name in changes}
    kept: dict[str, object] = {name: value for name, value in stored.items() if name.lower() not in lowered}
    return kept | {name: value for name, value in changes.items() if value is not None}
