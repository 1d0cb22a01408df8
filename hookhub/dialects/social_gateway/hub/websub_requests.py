"""What a subscriber asks of the hub in WebSub's way: pure functions that parse the form."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar

from deliveries.formats.websub import ALGORITHMS, MAX_SECRET_BYTES
from deliveries.sending.url import InvalidURL, normalise
from deliveries.webhooks.masks import is_masked_url
from hookhub.dialects.social_gateway.hub import requests
from hookhub.dialects.social_gateway.hub.requests import CALLBACK, LEASE, MODE, SECRET, TOPIC, Mode, Topic

# PubSubHubbub 0.3: a text that the verification's request sends back.
VERIFY_TOKEN = "hub.verify_token"  # noqa: S105 - the name of a parameter
# Not in WebSub, which leaves the choice to the hub.
ALGORITHM = "hub.signature_algorithm"
MAX_VERIFY_TOKEN = 200
# A topic is sent in a Link header, between angle brackets.
TOPIC_TEXT = re.compile(r"[!#-;=?-~]{1,1000}")
DIGITS = re.compile(r"0*[1-9][0-9]*")
MAX_DIGITS = 9
Value = TypeVar("Value")


class Refused(ValueError):
    """The form is invalid; ``lines`` are sentences, one for each field."""

    def __init__(self, lines: list[str]) -> None:
        super().__init__(" ".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class WebSubRequest:
    """A valid request in WebSub's way.

    ``topic_text`` is the topic as the subscriber writes it, which is what the hub has to repeat. ``lease`` is None if
    it leaves that to the hub, ``secret`` is "" for none.
    """

    mode: Mode
    topic: Topic
    topic_text: str
    callback: str
    lease: timedelta | None
    secret: str
    algorithm: str
    sent_back: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form, and the errors found in them so far."""

    fields: Mapping[str, str]
    lines: list[str]

    def parsed(self, name: str, parse: Callable[[str], Value], default: str | None = None) -> Value | None:
        """Return a parsed field; note an error and return None if it is missing or invalid."""
        given = self.fields.get(name, default)
        if given is None:
            self.lines.append(f"{name} is required")
            return None
        try:
            return parse(given)
        except ValueError as error:
            self.lines.append(f"{name} {error}")
            return None


def read(fields: Mapping[str, str], *, serves: Callable[[str], bool], prefix: str) -> WebSubRequest:
    """Return what a form asks for; raise Refused, which names every field that is missing or invalid.

    ``serves`` returns whether a topic may be at a host, and ``prefix`` is the path that this deployment is served
    under. Parameters that are not WebSub's are ignored.
    """
    form = Form(fields, [])
    mode = form.parsed(MODE, _mode)
    topic = form.parsed(TOPIC, lambda text: _topic(text, serves=serves, prefix=prefix))
    callback = form.parsed(CALLBACK, _callback)
    lease = form.parsed(LEASE, _lease) if LEASE in fields else None
    secret = form.parsed(SECRET, _secret, "")
    algorithm = form.parsed(ALGORITHM, _algorithm, ALGORITHMS[0])
    token = form.parsed(VERIFY_TOKEN, _verify_token) if VERIFY_TOKEN in fields else None
    if form.lines or mode is None or topic is None or callback is None or secret is None or algorithm is None:
        raise Refused(form.lines)
    sent_back = {} if token is None else {VERIFY_TOKEN: token}
    return WebSubRequest(mode, topic, fields[TOPIC], callback, lease, secret, algorithm, sent_back)


def granted(asked: timedelta | None, *, default: timedelta, least: timedelta, most: timedelta) -> timedelta:
    """Return the lease that the hub grants: what was asked for, within its bounds."""
    return max(least, min(default if asked is None else asked, most))


def _mode(text: str) -> Mode:
    found = next((each for each in Mode if each.value == text), None)
    if found is None:
        raise ValueError(f"must be one of: {', '.join(each.value for each in Mode)}")
    return found


def _topic(text: str, *, serves: Callable[[str], bool], prefix: str) -> Topic:
    if not TOPIC_TEXT.fullmatch(text):
        raise ValueError(requests.TOPIC_FORM)
    return requests.parse_topic(text, serves=serves, prefix=prefix)


def _callback(text: str) -> str:
    try:
        url = normalise(text)
    except InvalidURL as error:
        raise ValueError(f"is not allowed. {error.message}") from error
    if is_masked_url(url):
        raise ValueError("is masked; send the full URL")
    return url


def _lease(text: str) -> timedelta:
    if not text.isascii() or not DIGITS.fullmatch(text):
        raise ValueError("must be a positive integer")
    # A number too large for a timedelta asks for the longest lease.
    return timedelta(seconds=int(text.lstrip("0")[:MAX_DIGITS]))


def _secret(text: str) -> str:
    if len(text.encode()) > MAX_SECRET_BYTES:
        raise ValueError("must be less than 200 bytes")
    return text


def _algorithm(text: str) -> str:
    if text not in ALGORITHMS:
        raise ValueError(f"must be one of: {', '.join(ALGORITHMS)}")
    return text


def _verify_token(text: str) -> str:
    if len(text) > MAX_VERIFY_TOKEN or "\0" in text:
        raise ValueError(f"must have at most {MAX_VERIFY_TOKEN} characters")
    return text
