"""The engine's errors about fields, which it says in English to every door, in the language of a page.

``ERRORS`` has them with names for what differs from one to the next; one that it has not stays as it is.
"""

import re
from functools import cache

from django.utils.translation import gettext

NAMES = re.compile(r"%\((\w+)\)s")
ERRORS = (
    # Of a webhook's fields.
    "is required",
    "is masked; send the full URL",
    "is masked; send the secret itself",
    "must begin with https://: HOOKHUB_HTTPS_ONLY is enabled",
    "is required: the format %(format)s would reveal the URL, which is masked now",
    "must contain at most %(most)s event types",
    "%(word)s is not a valid event type: %(rule)s",
    "use up to 200 letters, digits, underscores and hyphens, with single dots between words, like issues.opened",
    "must be one of: %(words)s",
    "%(format)s is unknown to this version of HookHub; upgrade, or choose another format",
    "cannot be %(format)s where the URL must be verified: its receivers echo no challenge",
    "cannot be set: the format %(format)s does not sign requests",
    "cannot be rotated: the format %(format)s does not sign requests",
    "must be %(least)s to %(most)s printable characters",
    "must be 1 to %(most)s bytes of printable text",
    "must be whsec_ followed by base64",
    "must be whsec_ followed by the base64 of 24 to 64 random bytes",
    "must contain at most %(most)s headers",
    "%(name)s is not a valid header name",
    "%(name)s cannot be set: it controls the connection",
    "%(name)s cannot be set: the format %(format)s sends this header itself",
    "%(name)s cannot be set: HookHub sends this header itself, %(why)s",
    "to detect loops",
    "to a receiver that has consented to it",
    "the value of %(name)s %(error)s",
    "must be 1 to 2,000 visible ASCII characters, with spaces and tabs only in between",
    "is masked; send the value itself",
    "is masked, but the URL changed; send the value itself",
    "must not contain a header twice; names are case-insensitive",
    "must be a list of at most %(most)s delays in seconds",
    "each delay must be from 1 to %(most)s seconds",
    "%(value)s is not a number of seconds",
    "must be a number of seconds from 1 to %(most)s",
    "must be an integer from 1 to %(most)s",
    "must be a whole number of seconds from 1 to %(most)s",
    "must be a whole number from %(least)s to %(most)s, for %(slowest)s to %(fastest)s a second",
    "must be true: HOOKHUB_REQUIRE_TLS_VERIFICATION is enabled",
    "must be a string of at most 200 characters, without NUL or unpaired surrogates",
    "must be a single line without control or bidirectional formatting characters",
    "must not contain an API key or a secret",
    "must be in the future",
    "cannot be null: the organization has the URLs of all webhooks verified",
    "was deleted in the meantime",
    # Of quotas.
    "has reached its limit of %(count)s; delete one, or ask the operator to raise the limit",
    "limit reached: %(where)s already has %(count)s with this URL; change an existing one",
    "limit reached: this host has %(count)s of all organizations; ask the operator to raise the limit",
    "the organization",
    "%(number)s webhook",
    "%(number)s webhooks",
    # Of a URL.
    "The URL must begin with %(schemes)s.",
    "https:// or http://",
    "The URL is empty; write it as https://host/path.",
    "The URL has no host; write it as https://host/path.",
    "The URL has a fragment, which is never sent to a server; remove '#' and everything after it.",
    "The URL is longer than %(most)s characters; use a shorter one.",
    "The URL is longer than %(most)s characters once encoded; use a shorter one.",
    (
        "The URL contains a space, a control character, a backslash or an unpaired surrogate; remove it, or "
        "percent-encode it in the path."
    ),
    "The URL contains a user name or password; send credentials in a custom header instead.",
    "The URL's host contains a stray bracket; only IPv6 addresses are written in [ and ].",
    "The URL's port must be a number from 1 to %(most)s; an IPv6 address is written in [ and ].",
    "The URL's IPv6 address has a zone, which is valid on one machine only; remove it.",
    "The URL's host is in brackets but is not an IPv6 address; correct it or remove the brackets.",
    "The URL's host ends in a number but is not an IPv4 address; correct it.",
    "The URL's host contains a character that is not allowed in host names; remove it.",
    "The URL's host is not a valid international domain name; correct it.",
    "The URL's host is percent-encoded; write it unencoded.",
    "The URL's host is longer than %(most)s characters, the maximum for a host name.",
    (
        "Each part of the URL's host must be 1 to 63 letters, digits, hyphens or underscores, with no hyphen "
        "at either end; correct it."
    ),
    (
        "The URL leads back to HookHub itself, so deliveries could loop. Use the receiver's address. The "
        "operator can allow the host in HOOKHUB_ALLOWED_HOSTS."
    ),
    (
        "Connections to %(host)s are not allowed: it resolves to a blocked address. Ask the operator: the "
        "log has the address and the setting that allows it."
    ),
    (
        "Connections to %(address)s are not allowed: it is in %(network)s (%(kind)s). The operator can allow "
        "them by adding %(range)s to HOOKHUB_ALLOWED_NETWORKS or %(host)s to HOOKHUB_ALLOWED_HOSTS."
    ),
    "Connections to port %(port)s of %(host)s are not allowed: %(reason)s. No setting changes this.",
    "%(service)s usually listens there",
    "webhooks can use only ports 80, 443 and %(first)s to %(last)s",
    # Of an alert channel's fields.
    "must be empty for e-mail; set recipients",
    "must be empty for %(type)s; set url",
    "must be a repository of the organization",
    "must be a list of up to %(most)s e-mail addresses",
    "must be e-mail addresses; %(text)s is none",
    "must be a text of up to %(most)s characters",
    "has %(count)s alert channels, the maximum; delete one",
    # Of a filter.
    'must be an object such as {"data": {"action": "opened"}}',
    "%(name)s is not part of an event; use data, $or, $and or $not",
    "must have at most %(most)s conditions",
    "must be at most %(most)s levels deep",
    "%(name)s is not an operator; use one of: %(names)s",
    "at %(path)s: must not be a list; write an operator, such as $in",
    "at %(path)s: must have either operators or fields, not both",
    "at %(path)s: must be a list of at least one element",
    "at %(path)s: must be true or false",
    "at %(path)s: must be a text of up to %(most)s characters, without NUL",
    "at %(path)s: must be a text",
    "at %(path)s: must be a number or a text",
    "at %(path)s: must be a number of JSON",
    "at %(path)s: must be a smaller number",
    "cannot be set: its subscriber has said which events it wants",
    # Of the look of the portal.
    "must be an origin such as https://app.example: %(origin)s",
    "must be an origin, without a path: %(origin)s",
    "must begin with https://: %(origin)s",
    "must be at most %(most)s origins of up to %(length)s characters",
    "must be a data: URL in base64 of a PNG, JPEG, WebP, GIF or SVG image",
    "must be at most %(most)s characters long; use a smaller image",
    "must be a color such as #1a2b3c",
    # Of a test event.
    "must be at most %(most)s characters long as JSON",
    "is nested more than %(most)s levels deep",
    "is nested too deeply",
    "contains a number that is too large",
    "the webhook is not subscribed to this type; its types are: %(types)s",
)


def translated(message: str) -> str:
    """Return an error of the engine in the current language; one that ERRORS has not stays as it is."""
    for error, pattern in _patterns():
        if found := pattern.fullmatch(message):
            return gettext(error) % {name: translated(value) for name, value in found.groupdict().items()}
    return message


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Return each error with a pattern of the messages that it stands for."""
    return [
        (error, re.compile("".join(_pattern_of(n, part) for n, part in enumerate(NAMES.split(error))), re.DOTALL))
        for error in ERRORS
    ]


def _pattern_of(place: int, part: str) -> str:
    """Return the pattern of a part of an error: of a name if its place is odd, of the text around it otherwise."""
    return f"(?P<{part}>.+?)" if place % 2 else re.escape(part)
