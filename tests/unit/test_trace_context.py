"""Trace context as W3C recommends it: what is read, what is ignored, and what is passed on."""

from uuid import UUID

import pytest

from deliveries.policy import trace_context
from deliveries.policy.trace_context import Parent

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"

READ = {
    "sampled": (PARENT, PARENT),
    "not sampled": (f"00-{TRACE}-{SPAN}-00", f"00-{TRACE}-{SPAN}-00"),
    "random": (f"00-{TRACE}-{SPAN}-03", f"00-{TRACE}-{SPAN}-03"),
    "flags without a meaning are cleared": (f"00-{TRACE}-{SPAN}-ff", f"00-{TRACE}-{SPAN}-03"),
    "white space around it": (f" \t{PARENT} ", PARENT),
    "a later version": (f"01-{TRACE}-{SPAN}-01", PARENT),
    "a later version with more": (f"cc-{TRACE}-{SPAN}-01-what-the-future-brings", PARENT),
    "a later version with more, but no hyphen": (f"cc-{TRACE}-{SPAN}-01.what", None),
    "version ff": (f"ff-{TRACE}-{SPAN}-01", None),
    "version 00 with more": (f"{PARENT}-more", None),
    "a trace id of zeros": (f"00-{'0' * 32}-{SPAN}-01", None),
    "a span id of zeros": (f"00-{TRACE}-{'0' * 16}-01", None),
    "upper case": (PARENT.upper(), None),
    "too short": (PARENT[:-1], None),
    "two headers": (f"{PARENT},{PARENT}", None),
    "empty": ("", None),
    "a line break": (f"{PARENT}\n", None),
    "an injected header": (f"{PARENT}\r\nX: y", None),
    "other digits": (f"00-{TRACE[:-1]}٣-{SPAN}-01", None),
    "absent": (None, None),
    "no text": (17, None),
}


@pytest.mark.parametrize("case", READ)
def test_a_parent_is_read_or_ignored(case: str) -> None:
    given, expected = READ[case]

    assert trace_context.read(given) == expected


STATES = {
    "one member": ("congo=t61rcWkgMzE", "congo=t61rcWkgMzE"),
    "several, with space": ("rojo=00f067aa0ba902b7 ,\tcongo=t61", "rojo=00f067aa0ba902b7,congo=t61"),
    "a tenant": ("acme@vendor=1", "acme@vendor=1"),
    "empty members": ("a=1,,b=2,", "a=1,b=2"),
    "a space within a value": ("a=x y", "a=x y"),
    "the same key twice": ("a=1,b=2,a=3", ""),
    "no value": ("a=", ""),
    "an upper-case key": ("A=1", ""),
    "an equals sign in the value": ("a=b=c", ""),
    "no text but ASCII": ("a=ü", ""),
    "a line break": ("a=1\r\nX: y", ""),
    "33 members": (",".join(f"k{number}=1" for number in range(33)), ""),
    "32 members": (",".join(f"k{number}=1" for number in range(32)), ",".join(f"k{number}=1" for number in range(32))),
    "long members go first": (f"a={'x' * 200},b={'y' * 200},c={'z' * 120},d=1", f"c={'z' * 120},d=1"),
    "then the last": (",".join(f"k{n}={'v' * 100}" for n in range(6)), ",".join(f"k{n}={'v' * 100}" for n in range(4))),
    "hostile length": ("a=1," * 100_000, ""),
}


@pytest.mark.parametrize("case", STATES)
def test_a_state_is_passed_on_or_left_out(case: str) -> None:
    given, expected = STATES[case]

    assert trace_context.read(PARENT, given) == (f"{PARENT} {expected}" if expected else PARENT)


def test_a_state_without_a_parent_is_nothing() -> None:
    assert trace_context.read(None, "a=1") is None


FIELDS = {
    "as a propagator fills it": ({"traceparent": PARENT, "tracestate": "a=1", "baggage": "x=y"}, f"{PARENT} a=1"),
    "a parent alone": ({"traceparent": PARENT}, PARENT),
    "as a string": (PARENT, PARENT),
    "empty": ({}, None),
    "of another kind": ([PARENT], None),
    "a state of another kind": ({"traceparent": PARENT, "tracestate": 7}, PARENT),
}


@pytest.mark.parametrize("case", FIELDS)
def test_the_field_of_an_event_is_read_alike(case: str) -> None:
    given, expected = FIELDS[case]

    assert trace_context.read_fields(given) == expected


@pytest.mark.parametrize("state", ["", "a=1,b=x y"])
def test_what_is_stored_can_be_read_again(state: str) -> None:
    parent = Parent(TRACE, SPAN, 1, state)

    assert trace_context.parent_of(str(parent)) == parent
    assert dict(trace_context.headers_of(str(parent))).get("tracestate", "") == state
    assert trace_context.trace_id_of(str(parent)) == TRACE


def test_without_a_trace_no_header_is_sent() -> None:
    assert trace_context.headers_of(None) == ()
    assert trace_context.trace_id_of(None) is None


def test_each_attempt_has_a_span_of_its_own_which_never_changes() -> None:
    delivery = UUID("019cb8b8-1e00-7064-9a3b-d964b681a821")

    spans = {trace_context.span_id_of_attempt(delivery, number) for number in range(1, 100)}

    assert len(spans) == 99
    assert trace_context.span_id_of_attempt(delivery, 1) == "5ddd76352def796a"


def test_the_trace_of_a_request_ends_with_it() -> None:
    with trace_context.within(PARENT):
        assert trace_context.current() == PARENT
    assert trace_context.current() is None
