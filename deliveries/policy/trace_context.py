"""W3C Trace Context: the publisher's trace, as it is stored with an event and sent to its receivers.

It is stored as the value of ``traceparent``, followed by a space and ``tracestate`` if there is one. What is not valid
is ignored, as the recommendation demands: a trace is never a reason to refuse an event.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

TRACEPARENT, TRACESTATE = "traceparent", "tracestate"
MAX_MEMBERS = 32
# As much of a trace state must be passed on; of a longer one, members longer than MAX_KEPT_MEMBER go first.
MAX_STATE = 512
MAX_KEPT_MEMBER = 128
SAMPLED = 0x01
# The flags that have a meaning: sampled, and random trace id.
KNOWN_FLAGS = 0x03

_PARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.DOTALL)
_MEMBER = re.compile(
    r"(?P<key>[a-z0-9][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)


class Parent(NamedTuple):
    """The span that caused something: ids in hexadecimal digits, whether it is recorded, and the trace state or ""."""

    trace_id: str
    span_id: str
    flags: int = SAMPLED
    state: str = ""

    @property
    def is_sampled(self) -> bool:
        """Whether the trace is recorded."""
        return bool(self.flags & SAMPLED)

    def __str__(self) -> str:
        """Return it as it is stored."""
        parent = f"00-{self.trace_id}-{self.span_id}-{self.flags:02x}"
        return f"{parent} {self.state}" if self.state else parent


def read(traceparent: object, tracestate: object = None) -> str | None:
    """Return what two headers say, as it is stored, or None if the first is absent or invalid."""
    if not isinstance(traceparent, str):
        return None
    found = _PARENT.fullmatch(traceparent.strip(" \t"))
    if found is None:
        return None
    version, trace_id, span_id, flags, more = found.groups()
    if version == "ff" or (version == "00" and more) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    state = _read_state(tracestate) if isinstance(tracestate, str) else ""
    return str(Parent(trace_id, span_id, int(flags, 16) & KNOWN_FLAGS, state))


def read_fields(fields: object) -> str | None:
    """Return what a mapping with both values says, as a propagator fills it, or a ``traceparent`` alone."""
    if isinstance(fields, Mapping):
        return read(fields.get(TRACEPARENT), fields.get(TRACESTATE))
    return read(fields)


def _read_state(text: str) -> str:
    """Return a trace state in normal form, or the empty string if it is invalid."""
    members = [part.strip(" \t") for part in text.split(",", MAX_STATE * 4)]
    members = [member for member in members if member]
    parsed = [_MEMBER.fullmatch(member) for member in members]
    keys = {found["key"] for found in parsed if found}
    if not members or len(members) > MAX_MEMBERS or len(keys) < len(members):
        return ""
    if len(",".join(members)) > MAX_STATE:
        members = [member for member in members if len(member) <= MAX_KEPT_MEMBER]
    while len(",".join(members)) > MAX_STATE:
        members.pop()
    return ",".join(members)


def parent_of(stored: str) -> Parent:
    """Return what is stored with an event as its parts."""
    parent, _, state = stored.partition(" ")
    _, trace_id, span_id, flags = parent.split("-")
    return Parent(trace_id, span_id, int(flags, 16), state)


def headers_of(stored: str | None) -> tuple[tuple[str, str], ...]:
    """Return the headers that pass on what is stored; none if nothing is."""
    if stored is None:
        return ()
    parent, _, state = stored.partition(" ")
    return ((TRACEPARENT, parent), (TRACESTATE, state)) if state else ((TRACEPARENT, parent),)


def trace_id_of(stored: str | None) -> str | None:
    """Return the id of the trace that is stored, if any."""
    return None if stored is None else stored[3:35]


def span_id_of_attempt(delivery_id: UUID, number: int) -> str:
    """Return the id of an attempt's span, the same wherever it is asked for."""
    return sha256(b"%b%d" % (delivery_id.bytes, number)).hexdigest()[:16]


# The trace of the request that this thread handles.
_current: ContextVar[str | None] = ContextVar("trace", default=None)


def current() -> str | None:
    """Return the trace of the request that is being handled, as it is stored, or None."""
    return _current.get()


@contextmanager
def within(stored: str | None) -> Iterator[None]:
    """Handle a request of this trace."""
    token = _current.set(stored)
    try:
        yield
    finally:
        _current.reset(token)
