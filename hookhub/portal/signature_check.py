"""What is wrong with the signature of a request: a header, its time, the secret, or the body, and where that differs.

Pure functions of what was pasted into a form, which is neither stored nor logged. A form does not keep the ends of
lines, so both are tried.
"""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple

from django.utils.translation import gettext as _

from deliveries.vault import Secret
from hookhub.formatting import exact, span
from hookhub.portal.body_changes import VARIANTS, difference, variants_of
from hookhub.portal.snippets import OF_WEBSUB, SCHEMES, Scheme

# As the snippets and the libraries of Standard Webhooks have it.
TOLERANCE = timedelta(minutes=5)
MAX_SIGNATURES = 20
LONGEST_TIMESTAMP = 11


class Finding(NamedTuple):
    """A sentence about a request, and whether it is good, bad or a warning."""

    tone: Literal["good", "bad", "warning"]
    text: str


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of a request: the secret that came with it ("" if none), those of the webhook, newest first, and
    the body of the recorded delivery that it seems to be, if there is one. ``stored`` is empty if it must not be used.
    """

    given: str
    stored: Sequence[Secret]
    recorded: bytes | None


def read_headers(text: str) -> dict[str, str]:
    """Return the headers in a text by lower-case name: lines as in HTTP, also as curl prints them, or a JSON object."""
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        parsed = None
    if isinstance(parsed, dict):
        # JSON can write halves of characters, which no request has.
        texts = [(str(name), str(value).encode(errors="replace").decode()) for name, value in parsed.items()]
        return {name.lower(): value.strip() for name, value in texts}
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.strip().lstrip("<> ").partition(":")
        if colon and name.strip() and " " not in name.strip():
            found.setdefault(name.strip().strip("\"'").lower(), value.strip().rstrip(",").strip("\"'"))
    return found


def check(headers: Mapping[str, str], body: str, *, scheme: Scheme, known: Known, now: datetime) -> list[Finding]:
    """Return what is right and what is wrong with a request."""
    faults = list(faults_of_headers(headers, scheme))
    if known.given and scheme.kind == "standard-webhooks" and key_in(known.given) is None:
        faults.append(Finding("bad", _("The secret has not the form of one: whsec_ followed by base64, all of it.")))
    if faults:
        return faults
    return [*findings_of_signature(headers, body, scheme, known, now=now), *findings_of_time(headers, scheme, now=now)]


# Headers --------------------------------------------------------------------------------------------------------------


def faults_of_headers(headers: Mapping[str, str], scheme: Scheme) -> Iterator[Finding]:
    """Yield what is missing or malformed."""
    missing = [name for name in scheme.headers if not headers.get(name.lower())]
    for name in missing:
        yield Finding("bad", _("The header %(name)s is missing.") % {"name": name})
    if scheme.header in missing:
        others = {each.header for each in (*SCHEMES.values(), *OF_WEBSUB.values())} - {scheme.header}
        for name in sorted(name for name in others if name.lower() in headers):
            text = _("There is a header %(name)s instead: the request is in another format than this webhook's.")
            yield Finding("bad", text % {"name": name})
        return
    if not claimed_by(headers, scheme):
        text = _("The header %(name)s is malformed: it should look like %(example)s.")
        yield Finding("bad", text % {"name": scheme.header, "example": example_of(scheme)})
    if not missing and scheme.kind != "body-hmac" and sent_at(headers, scheme) is None:
        name = "webhook-timestamp" if scheme.kind == "standard-webhooks" else scheme.header
        yield Finding("bad", _("The time in %(name)s is no number of seconds since 1970.") % {"name": name})


def example_of(scheme: Scheme) -> str:
    """Return what a signature looks like."""
    match scheme.kind:
        case "standard-webhooks":
            return "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4="
        case "code-storage":
            return "t=1772625600,sha256=2b1e…"
    return f"{scheme.algorithm}=2b1e…"


def claimed_by(headers: Mapping[str, str], scheme: Scheme) -> list[str]:
    """Return the signatures that a request has, without those that cannot be one."""
    value = headers.get(scheme.header.lower(), "")
    if scheme.kind == "standard-webhooks":
        parts = [each.partition(",") for each in value.split()[:MAX_SIGNATURES]]
        return [text for version, _comma, text in parts if version == "v1" and is_base64(text)]
    parts_of = dict(each.strip().partition("=")[::2] for each in value.split(",")[:MAX_SIGNATURES])
    text = parts_of.get(scheme.algorithm, "").lower()
    return [text] if is_hex(text) and len(text) == 2 * hashlib.new(scheme.algorithm).digest_size else []


def is_base64(text: str) -> bool:
    """Return whether a text is the base64 of a SHA-256."""
    try:
        return len(binascii.a2b_base64(text.encode(), strict_mode=True)) == 32
    except (binascii.Error, ValueError):
        return False


def is_hex(text: str) -> bool:
    """Return whether a text consists of hexadecimal digits."""
    return bool(text) and all(letter in "0123456789abcdef" for letter in text)


def sent_at(headers: Mapping[str, str], scheme: Scheme) -> datetime | None:
    """Return the time that a request has signed, or None if there is none, or it is none."""
    text = headers.get("webhook-timestamp", "")
    if scheme.kind == "code-storage":
        text = timestamp_in(headers.get(scheme.header.lower(), ""))
    if not (text.isascii() and text.isdigit() and len(text) <= LONGEST_TIMESTAMP):
        return None
    return datetime.fromtimestamp(int(text), UTC)


def timestamp_in(header: str) -> str:
    """Return the time in a header ``t=…,sha256=…``."""
    return dict(each.strip().partition("=")[::2] for each in header.split(",")[:MAX_SIGNATURES]).get("t", "")


def findings_of_time(headers: Mapping[str, str], scheme: Scheme, *, now: datetime) -> Iterator[Finding]:
    """Yield whether a request is too old to be accepted, or not yet due."""
    moment = None if scheme.kind == "body-hmac" else sent_at(headers, scheme)
    if moment is None:
        return
    age = now - moment
    values = {"age": span(abs(age)), "tolerance": span(TOLERANCE)}
    if age > TOLERANCE:
        text = _(
            "It was signed %(age)s ago, and receivers refuse what is older than %(tolerance)s. That is to be expected"
            " of a request that was copied a while ago; otherwise look at the receiver's clock."
        )
        yield Finding("warning", text % values)
    elif age < -TOLERANCE:
        text = _("It was signed %(age)s in the future: a clock is wrong, or the time was changed.")
        yield Finding("bad", text % values)
    else:
        yield Finding("good", _("It was signed %(age)s ago, within the %(tolerance)s that receivers allow.") % values)


# Signature ------------------------------------------------------------------------------------------------------------


def is_signed(headers: Mapping[str, str], body: bytes, *, scheme: Scheme, secret: str) -> bool:
    """Return whether a request with this body is signed with this secret, in constant time."""
    expected = signature_of(headers, body, scheme=scheme, secret=secret)
    claimed = claimed_by(headers, scheme)
    return any([hmac.compare_digest(each, expected) for each in claimed])  # noqa: C419 - no short circuit.


def signature_of(headers: Mapping[str, str], body: bytes, *, scheme: Scheme, secret: str) -> str:
    """Return the signature of a body, with the id and the time in the headers.

    Not by ``deliveries.signing``, which keeps the keys that it has used: this one may be anybody's.
    """
    match scheme.kind:
        case "standard-webhooks":
            prefix = f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}."
            digest = hmac.digest(key_in(secret) or b"", prefix.encode() + body, "sha256")
            return base64.b64encode(digest).decode()
        case "code-storage":
            moment = timestamp_in(headers.get(scheme.header.lower(), ""))
            return hmac.digest(secret.encode(), moment.encode() + b"." + body, "sha256").hex()
    return hmac.digest(secret.encode(), body, scheme.algorithm).hex()


def key_in(secret: str) -> bytes | None:
    """Return the key in a secret of Standard Webhooks, or None if it has not the form of one."""
    try:
        return base64.b64decode(secret.removeprefix("whsec_").encode(), validate=True) or None
    except (binascii.Error, ValueError):
        return None


def findings_of_signature(
    headers: Mapping[str, str], text: str, scheme: Scheme, known: Known, *, now: datetime
) -> Iterator[Finding]:
    """Yield whether the signature is valid, and if not, which part of the request differs."""
    bodies = variants_of(text)
    secrets = list(dict.fromkeys([*filter(None, [known.given]), *(secret.text for secret in known.stored)]))
    # All of them, whatever is found.
    tried = [
        (kind, secret, is_signed(headers, body, scheme=scheme, secret=secret))
        for kind, body in bodies
        for secret in secrets
    ]
    found = [(kind, secret) for kind, secret, is_match in tried if is_match]
    kind, secret = min(found, key=lambda pair: (bool(pair[0]), secrets.index(pair[1])), default=("", None))
    if secret is None:
        yield from findings_without_match(headers, bodies[0][1], scheme, known)
        return
    if kind:
        yield Finding("bad", _("The body was changed: %(how)s") % {"how": VARIANTS[kind]})
    if known.given and secret != known.given:
        text = _("The secret that you entered is not the one that signed this request; the webhook's is.")
        yield Finding("bad", text)
    elif not kind:
        yield Finding("good", _("The signature is valid."))
    yield from findings_of_rotation(secret, known.stored, now=now)


def findings_of_rotation(secret: str, stored: Sequence[Secret], *, now: datetime) -> Iterator[Finding]:
    """Yield that the secret has been replaced, and until when it is used along with the new one."""
    for place, each in enumerate(stored):
        if each.text == secret and place > 0 and each.expires_at is not None:
            values = {"time": exact(each.expires_at)}
            if each.is_live(now):
                text = _("It is signed with a previous secret of the webhook, which is used until %(time)s.")
                yield Finding("warning", text % values)
            else:
                text = _("It is signed with a previous secret of the webhook, which has not been used since %(time)s.")
                yield Finding("bad", text % values)


def findings_without_match(headers: Mapping[str, str], body: bytes, scheme: Scheme, known: Known) -> Iterator[Finding]:
    """Yield what can be said if no secret verifies the body: by comparing it with the recorded one, if there is one."""
    recorded = known.recorded
    is_used = bool(known.stored)
    if recorded is None:
        yield Finding(
            "bad",
            _("The signature does not match: the body was changed after it was signed, or the secret is another."),
        )
        if scheme.id_header:
            text = _("The log has no delivery to this webhook with the id in %(name)s to compare the body with.")
            yield Finding("warning", text % {"name": scheme.id_header})
        return
    secrets = [*filter(None, [known.given]), *(secret.text for secret in known.stored)]
    is_right = any([is_signed(headers, recorded, scheme=scheme, secret=secret) for secret in secrets])  # noqa: C419
    if body in {recorded, recorded.replace(b"\r\n", b"\n")}:
        yield Finding("good", _("The body is that of the delivery in the log."))
        yield Finding(
            "bad",
            _("The signature was made with none of the webhook's secrets, or its header was changed.")
            if is_used
            else _("The secret that you entered did not sign this request."),
        )
        return
    yield Finding("bad", _("The body was changed: %(how)s") % {"how": difference(body, recorded)})
    if not is_right:
        yield Finding("bad", _("And the secret is another, or the headers are not those of this delivery."))
