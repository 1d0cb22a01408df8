"""The names of the SDKs' types, from those of the schemas in the API's description."""

import re

# The SDKs write these by hand: what is published, and lists.
BY_HAND = re.compile(r"(NewEvents?|Receipts?|ReceiptBatch|\w+Page|EventTypeList)$")
INITIALISMS = {"id": "ID", "ids": "IDs", "url": "URL", "api": "API", "ssl": "SSL", "ip": "IP", "http": "HTTP"}


def go_name(schema: str) -> str:
    """Return the name of a schema's type in Go."""
    return re.sub(r"(^|(?<=[a-z]))(Api|Url)(?=[A-Z]|$)", lambda found: found[0].upper(), schema)


def camel(name: str) -> str:
    """Return the name of a field or a method in Go."""
    words = re.split(r"[^A-Za-z0-9]+", name)
    return "".join(INITIALISMS.get(word.lower(), word[:1].upper() + word[1:]) for word in words)
