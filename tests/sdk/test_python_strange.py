"""The Python clients against a server whose responses are no such as the API sends."""

import asyncio
import gzip
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hookhub_client import AsyncClient, Client, HookHubError

from tests.fake_hookhub import Answer, FakeHookHub, fake_hookhub

STRANGE: list[Any] = [{}, {"results": 7, "consumers": 7}, {"results": [None], "consumers": [None]}]
LISTS: dict[str, Callable[[Any], Any]] = {
    "event types": lambda client: client.event_types.list(),
    "consumers": lambda client: client.webhooks.consumers("w"),
}


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHookHub]:
    with fake_hookhub() as running:
        yield running


def asynchronously(fake: FakeHookHub, call: Callable[[AsyncClient], Awaitable[Any]]) -> Any:
    async def called() -> Any:
        async with AsyncClient(fake.url, "hh_1", retries=0) as client:
            return await call(client)

    return asyncio.run(called())


@pytest.mark.parametrize("answer", STRANGE, ids=str)
@pytest.mark.parametrize("call", LISTS.values(), ids=LISTS)
def test_a_list_of_no_objects_is_an_error(fake: FakeHookHub, call: Callable[[Any], Any], answer: Any) -> None:
    fake.answers = [Answer(200, answer)] * 2

    with Client(fake.url, "hh_1", retries=0) as client, pytest.raises(HookHubError) as raised:
        call(client)
    with pytest.raises(HookHubError) as raised_asynchronously:
        asynchronously(fake, call)

    assert (raised.value.code, raised_asynchronously.value.code) == ("not_hookhub", "not_hookhub")


def test_of_a_body_without_end_only_the_beginning_is_kept(fake: FakeHookHub, monkeypatch: pytest.MonkeyPatch) -> None:
    for transport in ("client", "aio"):
        monkeypatch.setattr(f"hookhub_client.{transport}.transport.MAX_BODY", 1 << 20)
    packed = gzip.compress(b'{"id": "' + b" " * (30 << 20) + b'"}')
    fake.answers = [Answer(200, packed, {"Content-Encoding": "gzip"}), Answer(200, {"id": "w"})] * 2
    seen = []

    with Client(fake.url, "hh_1", retries=0) as client:
        with pytest.raises(HookHubError, match="not with a HookHub API response"):
            client.webhooks.get("w")
        seen.append(client.webhooks.get("w"))

    async def twice(client: AsyncClient) -> None:
        with pytest.raises(HookHubError, match="not with a HookHub API response"):
            await client.webhooks.get("w")
        seen.append(await client.webhooks.get("w"))

    asynchronously(fake, twice)

    assert seen == [{"id": "w"}] * 2


@pytest.mark.parametrize("space", ["\n", "\r\n", " ", "\t"])
def test_white_space_around_an_address_is_none_of_it(fake: FakeHookHub, space: str) -> None:
    fake.answers = [Answer(200, {"id": "w"})]

    with Client(f" {fake.url}/v1/{space}", "hh_1", retries=0) as client:
        assert client.webhooks.get("w") == {"id": "w"}

    assert fake.asked[0].path == "/v1/webhooks/w"


@pytest.mark.parametrize("end", ["?", "#", "/?", "/v1\n/a", " b"])
def test_an_address_that_would_end_elsewhere_is_refused(end: str) -> None:
    with pytest.raises(ValueError, match="base_url must look like"):
        Client(f"https://hooks.example{end}", "hh_1")


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "wrong",
    [
        {"timeout": 10},
        {"timeout": None},
        {"deadline": 60.0},
        {"retries": None},
        {"retries": "4"},
        {"retries": 1.5},
    ],
    ids=str,
)
def test_a_setting_of_another_type_is_refused_at_once(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match=f"^{next(iter(wrong))} must be"):
        kind("https://hooks.example", "hh_1", **wrong)


@pytest.mark.parametrize("kind", [Client, AsyncClient])
@pytest.mark.parametrize(
    "wrong", [{"timeout": timedelta(0)}, {"deadline": timedelta(seconds=-1)}, {"retries": -1}], ids=str
)
def test_a_setting_that_would_let_nothing_through_is_refused_at_once(kind: Any, wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=f"^{next(iter(wrong))} must"):
        kind("https://hooks.example", "hh_1", **wrong)


def test_a_change_may_hold_a_time_as_a_creation_may(fake: FakeHookHub) -> None:
    ends = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
    fake.answers = [Answer(200, {"id": "w"})] * 3
    changes = {"expires_at": ends, "name": None}

    with Client(fake.url, "hh_1", retries=0) as client:
        client.webhooks.update("w", changes)
        client.webhooks.create("https://a.example/", events=["*"], settings={"expires_at": ends})
    asynchronously(fake, lambda client: client.webhooks.update("w", changes))

    sent = [json.loads(asked.body) for asked in fake.asked]
    assert sent[0] == sent[2] == {"expires_at": "2026-03-04T05:06:07+00:00", "name": None}
    assert sent[1]["expires_at"] == "2026-03-04T05:06:07+00:00"
