"""The asynchronous Python client against a real server on loopback; tests/unit/test_client.py tests the other."""

import asyncio
import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta

import pytest
from hookhub_client import AsyncClient, Client, ConnectionFailed, Event, HookHubError

from hookhub.procfile import ROOT
from tests.fake_hookhub import Answer, FakeHookHub, fake_hookhub, refusal, without_tls


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHookHub]:
    with fake_hookhub() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between attempts instead of sleeping."""
    recorded: list[float] = []

    async def sleep(seconds: float) -> None:
        recorded.append(seconds)

    monkeypatch.setattr("hookhub_client.aio.transport.asyncio.sleep", sleep)
    return recorded


TROUBLE = {
    "the connection breaks": Answer(hang_up=True),
    "429": refusal(429, "throttled", "Slower."),
    "502 of a proxy": Answer(502, b"<html>bad gateway</html>"),
    "503": refusal(503, "unavailable", "Later."),
}


@pytest.mark.parametrize("trouble", TROUBLE.values(), ids=TROUBLE)
def test_an_event_is_published_again_with_the_same_id(fake: FakeHookHub, pauses: list[float], trouble: Answer) -> None:
    fake.answers = [trouble, trouble]

    async def story() -> None:
        async with AsyncClient(fake.url, "hh_1_secret") as hookhub:
            receipt = await hookhub.publish("push", {"ref": "ü"}, repository="widgets")
            assert (receipt.type, receipt.replayed) == ("push", False)

    asyncio.run(story())

    assert len({asked.body for asked in fake.asked}) == 1
    assert (len(fake.asked), len(fake.accepted), len(pauses)) == (3, 1, 2)
    assert fake.asked[0].headers["Authorization"] == "Bearer hh_1_secret"
    assert fake.asked[0].headers["HookHub-Dialect"] == "native"


def test_many_tasks_share_a_client(fake: FakeHookHub) -> None:
    async def story() -> None:
        async with AsyncClient(fake.url, "hh_1") as hookhub:
            await asyncio.gather(*(hookhub.publish("push", {"n": n}, id=f"key-{n}") for n in range(50)))

    asyncio.run(story())

    assert fake.accepted.keys() == {f"key-{n}" for n in range(50)}


def test_a_batch_is_cut_and_tells_what_was_accepted_before_it_failed(fake: FakeHookHub) -> None:
    invalid = refusal(422, "invalid", "Invalid fields.", ("events[0].type", "is required"))

    async def story() -> HookHubError:
        async with AsyncClient(fake.url, "hh_1") as hookhub:
            fake.answers = []
            await hookhub.publish_batch(Event("push", n) for n in range(1001))
            fake.otherwise = lambda asked: fake.accept(asked) if len(asked.events) > 1 else invalid
            with pytest.raises(HookHubError) as caught:
                await hookhub.publish_batch(Event("push", n) for n in range(1001))
            return caught.value

    error = asyncio.run(story())

    assert [len(asked.events) for asked in fake.asked] == [1000, 1, 1000, 1]
    assert (error.status, error.code, error.fields) == (422, "invalid", (("events[0].type", "is required"),))
    assert len(error.published) == 1000


def test_pages_are_fetched_as_they_are_needed_and_a_webhook_is_managed(fake: FakeHookHub) -> None:
    elsewhere = "http://internal.example:8000/v1/deliveries?state=failed&limit=2&cursor=a%2Bb"
    fake.answers = [
        Answer(200, {"results": [{"id": "1"}, {"id": "2"}], "next": elsewhere}),
        Answer(200, {"results": [{"id": "3"}], "next": None}),
        Answer(201, {"id": "w", "secret": "whsec_x"}),
        Answer(202, {"id": "r", "finished_at": None}),
        Answer(200, {"id": "r", "finished_at": "2026-03-04T05:06:07Z"}),
        Answer(204),
    ]

    async def story() -> list[str]:
        async with AsyncClient(fake.url, "hh_1") as hookhub:
            found = [row["id"] async for row in hookhub.deliveries.list(state="failed", page_size=2)]
            created = await hookhub.webhooks.create("https://a.example/", events=["push"])
            replay = await hookhub.replay(webhook=created["id"])
            assert (await replay.wait(every=timedelta(0))).finished
            await hookhub.webhooks.delete(created["id"])
            return found

    assert asyncio.run(story()) == ["1", "2", "3"]
    assert [(asked.method, asked.path) for asked in fake.asked] == [
        ("GET", "/v1/deliveries?state=failed&limit=2"),
        ("GET", "/v1/deliveries?state=failed&limit=2&cursor=a%2Bb"),
        ("POST", "/v1/webhooks"),
        ("POST", "/v1/replays"),
        ("GET", "/v1/replays/r"),
        ("DELETE", "/v1/webhooks/w"),
    ]
    assert json.loads(fake.asked[2].body) == {"url": "https://a.example/", "events": ["push"]}


def test_the_organization_of_an_operators_key_is_named_once(fake: FakeHookHub) -> None:
    pages = [
        Answer(200, {"results": [], "next": "http://a/v1/webhooks?cursor=a&organization=acme"}),
        Answer(200, {"results": []}),
        Answer(200, {"slug": "acme"}),
    ]

    async def story() -> None:
        async with AsyncClient(fake.url, "hh_1", organization="acme") as hookhub:
            assert [row async for row in hookhub.webhooks.list(status="active")] == []
            await hookhub.organizations.get("acme")

    fake.answers = list(pages)
    asyncio.run(story())
    fake.answers = list(pages)
    with Client(fake.url, "hh_1", organization="acme") as hookhub:
        assert list(hookhub.webhooks.list(status="active")) == []
        hookhub.organizations.get("acme")

    paths = [
        "/v1/webhooks?status=active&organization=acme",
        "/v1/webhooks?cursor=a&organization=acme",
        "/v1/organizations/acme",
    ]
    assert [asked.path for asked in fake.asked] == paths * 2


def test_what_may_have_had_an_effect_is_not_repeated(fake: FakeHookHub, pauses: list[float]) -> None:
    fake.answers = [Answer(hang_up=True)]

    async def story() -> None:
        async with AsyncClient(fake.url, "hh_1") as hookhub:
            with pytest.raises(ConnectionFailed, match="no response from"):
                await hookhub.webhooks.create("https://a.example/", events=["push"])

    asyncio.run(story())

    assert (len(fake.asked), pauses) == (1, [])


def test_a_closed_port_is_tried_again_even_for_a_creation(pauses: list[float]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"

        async def story() -> None:
            async with AsyncClient(url, "hh_1", retries=2) as hookhub:
                with pytest.raises(ConnectionFailed, match="after 3 attempts"):
                    await hookhub.webhooks.create("https://a.example/", events=["push"])

        asyncio.run(story())

    assert len(pauses) == 2


@pytest.mark.parametrize(("greeting", "attempts"), [(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1), (b"", 3)])
def test_a_server_that_speaks_no_tls_is_not_asked_again_and_one_that_ends_the_handshake_is(
    pauses: list[float], greeting: bytes, attempts: int
) -> None:
    with without_tls(greeting) as (url, connections):

        async def story() -> None:
            async with AsyncClient(url, "hh_1", retries=2) as hookhub:
                # The reason is named, also if httpx gives its error no text.
                with pytest.raises(ConnectionFailed, match=r"no response from [^ ]+( after 3 attempts)?: [^. ]"):
                    await hookhub.publish("push", {})

        asyncio.run(story())

    assert (len(connections), len(pauses)) == (attempts, attempts - 1)


@pytest.mark.parametrize("wait", ["3600", "90"])
def test_no_attempt_begins_after_the_deadline(
    fake: FakeHookHub, pauses: list[float], wait: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.otherwise = lambda asked: refusal(503, "unavailable", "Maintenance.", Retry_After=wait)
    monkeypatch.setattr("time.sleep", pauses.append)

    async def story() -> None:
        async with AsyncClient(fake.url, "hh_1", deadline=timedelta(minutes=1)) as hookhub:
            with pytest.raises(HookHubError, match="503 unavailable"):
                await hookhub.publish("push", {})

    asyncio.run(story())
    with (
        Client(fake.url, "hh_1", deadline=timedelta(minutes=1)) as hookhub,
        pytest.raises(HookHubError, match="503 unavailable"),
    ):
        hookhub.publish("push", {})

    assert (len(fake.asked), pauses) == (2, [])


def test_an_answer_that_is_not_hookhubs_is_an_error_too(fake: FakeHookHub) -> None:
    async def said(answer: Answer) -> str:
        fake.answers = [answer]
        async with AsyncClient(fake.url, "hh_1", retries=0) as hookhub:
            with pytest.raises(HookHubError) as caught:
                await hookhub.webhooks.get("w")
            return caught.value.code

    answers = [Answer(200, b"<html>"), Answer(301, b"", {"Location": "https://b.example/"}), Answer(500, b"oops")]
    assert [asyncio.run(said(answer)) for answer in answers] == ["not_hookhub", "redirected", "unknown"]


def test_without_httpx_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['httpx'] = None\n"
        "import hookhub_client\n"
        "try: hookhub_client.AsyncClient\n"
        "except ImportError as error: print(error)"
    )
    environment = {"PYTHONPATH": str(ROOT / "sdk" / "python" / "src")}

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)

    assert done.stdout == "AsyncClient needs httpx; run: pip install 'hookhub-client[async]'\n"
