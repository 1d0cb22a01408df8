"""Why a body is not the one that was signed: what programs usually do to one, and from which byte on it differs."""

import json
from collections.abc import Iterator, Mapping

from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from deliveries.formats.github_family import encode_value

BOM = "\ufeff".encode()
# Why a body is not the one that was signed.
VARIANTS: Mapping[str, Promise] = {
    "newline-added": gettext_lazy("there is a line break at its end that was not sent."),
    "newline-lost": gettext_lazy("the line break at its end is missing."),
    "bom": gettext_lazy("there is a byte order mark at its beginning that was not sent."),
    "spaces": gettext_lazy("there are spaces around it that were not sent."),
    "reformatted": gettext_lazy(
        "the JSON was parsed and written anew, with other spaces. Verify the bytes as they came, before any parsing."
    ),
    "escaped": gettext_lazy(
        "the JSON was parsed and written anew, with other escapes. Verify the bytes as they came, before any parsing."
    ),
    "decoded": gettext_lazy(
        "this is the JSON in the form's field payload. The signature is that of the form as it was sent, payload=…"
    ),
}


def variants_of(text: str) -> list[tuple[str, bytes]]:
    """Return the bodies that a text may have been when it was signed, each with what was done to it since; "" first."""
    body = text.replace("\r\n", "\n").encode(errors="replace")
    plain = body.removeprefix(BOM)
    found = [("", body), ("", body.replace(b"\n", b"\r\n"))]
    found += [("bom", plain), ("newline-added", plain.removesuffix(b"\n")), ("newline-added", plain.rstrip(b"\n"))]
    found += [("newline-lost", plain + b"\n"), ("newline-lost", plain + b"\r\n"), ("spaces", plain.strip())]
    found += [("decoded", b"payload=" + encode_value(each)) for each in (plain, plain.strip())]
    found += [(kind, each.encode(errors="replace")) for kind, each in rewritten(plain)]
    # The same bytes are what the first of them says.
    first: dict[bytes, str] = {}
    for kind, each in found:
        first.setdefault(each, kind)
    return [(kind, each) for each, kind in first.items()]


def rewritten(body: bytes) -> Iterator[tuple[str, str]]:
    """Yield what programs make of JSON that they have parsed and write anew; nothing if a body is none."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return
    for kind, is_ascii in (("reformatted", False), ("escaped", True)):
        for separators in ((",", ":"), (", ", ": ")):
            yield kind, json.dumps(parsed, ensure_ascii=is_ascii, separators=separators)


def difference(body: bytes, recorded: bytes) -> str:
    """Return how a body differs from the one in the log, without telling what that is."""
    at = next((n for n, (one, other) in enumerate(zip(body, recorded, strict=False), 1) if one != other), None)
    place = min(len(body), len(recorded)) + 1 if at is None else at
    where = _("it differs from byte %(place)d on; it has %(size)d bytes, and %(sent)d were sent.") % {
        "place": place,
        "size": len(body),
        "sent": len(recorded),
    }
    kind = next((kind for kind, each in variants_of(body.decode(errors="replace")) if kind and each == recorded), None)
    if kind is not None:
        return f"{VARIANTS[kind]} ({where})"
    try:
        is_same = json.loads(body) == json.loads(recorded)
    except (ValueError, RecursionError):
        is_same = False
    return f"{VARIANTS['reformatted']} ({where})" if is_same else where
