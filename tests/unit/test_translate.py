"""How parsed events become the engine's: their organization, their repositories' names, their idempotency keys."""

import json
from datetime import UTC, datetime

import pytest

from deliveries.events import NewEvent
from deliveries.models import Organization
from hookhub.http.refusals import Refusal
from hookhub.publishing import parse
from hookhub.publishing.parse import ParsedRequest
from hookhub.publishing.translate import (
    MAX_HEADER_KEY_LENGTH,
    new_events,
    organization_named,
    repository_names,
    with_keys,
)

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)
ACME = Organization(id=7, slug="acme")


def parsed(*events: dict[str, object], is_batch: bool = True) -> ParsedRequest:
    whole = [{"type": "push", "data": 1, **event} for event in events]
    return parse.read(json.dumps(whole if is_batch else whole[0]).encode(), "application/json")


def keyed(request: ParsedRequest, header: str | None, *, content: bytes = b"body") -> list[NewEvent]:
    events = new_events(request, organization=ACME, repositories={}, now=NOW)
    return with_keys(events, request, header=header, content=content)


def faults(refusal: pytest.ExceptionInfo[Refusal]) -> dict[str, str]:
    return refusal.value.fields


# Organizations and repositories --------------------------------------------------------------------------------------


def test_the_events_of_a_request_name_one_organization_or_none() -> None:
    assert organization_named(parsed({}, {})) is None
    assert organization_named(parsed({"organization": "acme"}, {"organization": "acme"})) == "acme"

    for others in ({"organization": "rival"}, {}):
        with pytest.raises(Refusal) as refusal:
            organization_named(parsed({"organization": "acme"}, others))
        assert faults(refusal) == {"organization": "all events of a request must belong to the same organization"}


def test_a_repository_is_named_in_short_or_in_full_and_never_anothers() -> None:
    written = ["widgets", "acme/widgets", "rival/widgets", "widgets/", "/widgets"]

    names = repository_names(parsed({}, *({"repository": name} for name in written)), organization=ACME)

    assert names == {
        "widgets": "widgets",
        "acme/widgets": "widgets",
        "rival/widgets": "",
        "widgets/": "",
        "/widgets": "widgets",
    }


def test_an_event_gets_its_repositorys_id_and_the_time_of_acceptance_unless_it_has_one() -> None:
    request = parsed({"repository": "acme/widgets", "timestamp": "2026-03-01T00:00:00Z"}, {})

    first, second = new_events(request, organization=ACME, repositories={"widgets": 3}, hops="a=1", now=NOW)

    assert (first.organization_id, first.repository_id, first.occurred_at) == (7, 3, datetime(2026, 3, 1, tzinfo=UTC))
    assert (second.repository_id, second.occurred_at, second.hops) == (None, NOW, "a=1")


# Idempotency keys ----------------------------------------------------------------------------------------------------


def test_without_a_header_events_keep_their_keys() -> None:
    events = keyed(parsed({"id": "a"}, {}), None)

    assert [event.idempotency_key for event in events] == ["a", None]
    assert [event.fingerprint is None for event in events] == [False, True]


def test_the_header_is_the_key_of_a_single_event_and_the_start_of_the_keys_of_a_batch() -> None:
    [single] = keyed(parsed({}, is_batch=False), "k")
    batch = keyed(parsed({}, {"id": "own"}, {}), "k")

    assert (single.idempotency_key, single.fingerprint) == ("k", parsed({}).events[0].fingerprint())
    assert [event.idempotency_key for event in batch] == ["k#0", "own", "k#2"]


def test_the_key_of_a_batch_stands_for_the_whole_body() -> None:
    one, other = (keyed(parsed({}, {}), "k", content=content) for content in (b"one", b"other"))

    assert one[0].fingerprint == one[1].fingerprint
    assert one[0].fingerprint != other[0].fingerprint


UNPRINTABLE = "must be a string of 1 to 255 printable characters"
REPEATED = "is also used by another event in this request"
DIFFERENT = "differs from the Idempotency-Key header; send only one of them"


@pytest.mark.parametrize(
    ("events", "header", "is_batch", "wanted"),
    [
        pytest.param([{}], "", False, {"Idempotency-Key": UNPRINTABLE}, id="empty"),
        pytest.param([{}], "k" * 246, False, {"Idempotency-Key": "must be at most 245 characters"}, id="too long"),
        pytest.param([{"id": "a"}], "b", False, {"id": DIFFERENT}, id="two keys for one event"),
        pytest.param([{"id": "a"}, {}, {"id": "a"}], None, True, {"events[0].id": REPEATED}, id="repeated"),
        pytest.param([{"id": "k#1"}, {}], "k", True, {"events[0].id": REPEATED}, id="as the header makes it"),
    ],
)
def test_an_invalid_or_repeated_key_is_refused(
    events: list[dict[str, object]], header: str | None, is_batch: bool, wanted: dict[str, str]
) -> None:
    with pytest.raises(Refusal) as refusal:
        keyed(parsed(*events, is_batch=is_batch), header)

    assert faults(refusal) == wanted


def test_the_longest_header_still_fits_with_a_position() -> None:
    events = keyed(parsed(*[{}] * parse.MAX_EVENTS), "k" * MAX_HEADER_KEY_LENGTH)

    assert max(len(event.idempotency_key or "") for event in events) <= parse.MAX_KEY_LENGTH
