"""The Python client against a real server on loopback."""

import json
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone

import pytest

from hookhub.client import Client, ConnectionFailed, Event, HookHubError, PublishedEvent, backoff, retry_after
from tests.fake_hookhub import Answer, Asked, FakeHookHub, fake_hookhub, refusal, without_tls

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)
UNAVAILABLE = refusal(503, "unavailable", "The database is unavailable.")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHookHub]:
    monkeypatch.setenv("NO_PROXY", "*")
    with fake_hookhub() as running:
        yield running


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Record the pauses between attempts instead of sleeping."""
    recorded: list[float] = []
    monkeypatch.setattr(time, "sleep", recorded.append)
    return recorded


@pytest.fixture
def hookhub(fake: FakeHookHub, pauses: list[float]) -> Iterator[Client]:
    with Client(fake.url, "hh_1_secret", timeout=timedelta(seconds=5)) as client:
        yield client


def test_an_event_is_published_with_everything_it_was_given(hookhub: Client, fake: FakeHookHub) -> None:
    published = hookhub.publish(
        "push", {"ref": "ü"}, repository="acme/widgets", id="key-1", timestamp=NOW, organization="acme"
    )

    assert published == PublishedEvent(
        id=str(uuid.uuid5(uuid.NAMESPACE_OID, "key-1")), type="push", accepted_at=NOW, replayed=False
    )
    (asked,) = fake.asked
    assert (asked.method, asked.path) == ("POST", "/v1/events")
    assert asked.headers["Authorization"] == "Bearer hh_1_secret"
    assert asked.headers["Content-Type"] == "application/x-ndjson"
    assert asked.events == [
        {
            "type": "push",
            "data": {"ref": "ü"},
            "repository": "acme/widgets",
            "id": "key-1",
            "timestamp": "2026-03-04T05:06:07+00:00",
            "organization": "acme",
        }
    ]


def test_what_was_not_given_is_not_sent_except_the_data(hookhub: Client, fake: FakeHookHub) -> None:
    hookhub.publish("ping", None, id="key-1")

    assert fake.asked[0].events == [{"type": "ping", "data": None, "id": "key-1"}]


def test_an_empty_id_is_sent_for_hookhub_to_refuse_and_not_taken_for_none(hookhub: Client, fake: FakeHookHub) -> None:
    fake.answers = [refusal(422, "invalid", "Wrong.", ("events[0].id", "must be a string of 1 to 255 characters"))]

    with pytest.raises(HookHubError, match="must be a string"):
        hookhub.publish("push", 1, id="")

    assert [event["id"] for event in fake.asked[0].events] == [""]


def test_publishing_the_same_id_again_is_told_apart(hookhub: Client) -> None:
    first = hookhub.publish("push", 1, id="key-1")
    second = hookhub.publish("push", 1, id="key-1")

    assert (first.replayed, second.replayed) == (False, True)
    assert second.id == first.id


@pytest.mark.parametrize(
    "trouble",
    [
        pytest.param(Answer(hang_up=True), id="the connection breaks before the answer"),
        pytest.param(refusal(429, "throttled", "Slower."), id="429"),
        pytest.param(Answer(502, b"<html>bad gateway</html>"), id="502 from a proxy"),
        pytest.param(UNAVAILABLE, id="503"),
        pytest.param(Answer(504, b""), id="504"),
    ],
)
def test_passing_trouble_is_retried_with_the_same_id(
    hookhub: Client, fake: FakeHookHub, pauses: list[float], trouble: Answer
) -> None:
    fake.answers = [trouble, trouble]

    hookhub.publish("push", {"n": 1})

    assert len({asked.body for asked in fake.asked}) == 1
    assert len(fake.asked) == 3
    assert len(fake.accepted) == 1
    assert [0.25 <= pauses[0] <= 0.5, 0.5 <= pauses[1] <= 1.0, len(pauses)] == [True, True, 2]


def test_a_silent_server_is_retried_and_then_named(fake: FakeHookHub, pauses: list[float]) -> None:
    fake.answers = [Answer(hang=True), Answer(hang=True)]

    with (
        Client(fake.url, "hh_1_secret", timeout=timedelta(milliseconds=50), retries=1) as hookhub,
        pytest.raises(ConnectionFailed, match=r"no response from .* after 2 attempts.*Check the base URL") as caught,
    ):
        hookhub.publish("push", {})

    assert (caught.value.status, caught.value.code) == (None, "connection_failed")
    assert len(fake.asked) == 2


def test_a_closed_port_is_named(pauses: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

        with (
            Client(f"http://127.0.0.1:{port}", "k") as hookhub,
            pytest.raises(ConnectionFailed, match="after 5 attempts"),
        ):
            hookhub.publish("push", {})

    assert len(pauses) == 4


@pytest.mark.parametrize(("greeting", "attempts"), [(b"HTTP/1.1 400 Bad Request\r\n\r\n", 1), (b"", 3)])
def test_a_server_that_speaks_no_tls_is_not_asked_again_and_one_that_ends_the_handshake_is(
    pauses: list[float], monkeypatch: pytest.MonkeyPatch, greeting: bytes, attempts: int
) -> None:
    monkeypatch.setenv("NO_PROXY", "*")
    with (
        without_tls(greeting) as (url, connections),
        Client(url, "hh_1", retries=2) as hookhub,
        pytest.raises(ConnectionFailed),
    ):
        hookhub.publish("push", {})

    assert (len(connections), len(pauses)) == (attempts, attempts - 1)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_a_refusal_is_raised_at_once(hookhub: Client, fake: FakeHookHub, pauses: list[float], status: int) -> None:
    fake.answers = [refusal(status, "code", "No.", ("events[0].type", "Unknown."))]

    with pytest.raises(HookHubError) as caught:
        hookhub.publish("push", {})

    error = caught.value
    assert (error.status, error.code, error.message) == (status, "code", "No.")
    assert error.fields == (("events[0].type", "Unknown."),)
    assert str(error).startswith(f"HookHub answered {status} code: No. events[0].type: Unknown.")
    assert (len(fake.asked), pauses) == (1, [])


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (401, "Check the API key."),
        (403, "Use an API key that permits this request."),
        (404, "Check the id or name, and the base URL."),
        (413, "Make the event smaller: link to large content instead of embedding it."),
    ],
)
def test_a_refusal_says_what_to_do(hookhub: Client, fake: FakeHookHub, status: int, advice: str) -> None:
    fake.answers = [refusal(status, "code", "No.")]

    with pytest.raises(HookHubError, match=advice.replace(".", r"\.") + "$"):
        hookhub.publish("push", {})


@pytest.mark.parametrize(
    "call",
    [
        lambda c: c.publish("push", {}),
        lambda c: c.deliveries.redeliver("d"),
        lambda c: c.deliveries.cancel("d"),
        lambda c: c.webhooks.ping("w"),
    ],
    ids=["publish", "redeliver", "cancel", "ping"],
)
def test_what_to_do_about_a_conflict_is_left_to_the_api(
    hookhub: Client, fake: FakeHookHub, call: Callable[[Client], object]
) -> None:
    fake.answers = [refusal(409, "conflict", "This webhook is disabled; enable it first.")]

    with pytest.raises(HookHubError) as caught:
        call(hookhub)

    assert str(caught.value) == "HookHub answered 409 conflict: This webhook is disabled; enable it first."


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        pytest.param(Answer(400, b"<html>"), "400 unknown: not a HookHub API response: '<html>'", id="HTML"),
        pytest.param(Answer(400, ["x"]), "400 unknown: not a HookHub API response", id="a JSON array"),
        pytest.param(Answer(400, {"error": "no"}), "400 unknown: not a HookHub API response", id="another error shape"),
        pytest.param(
            Answer(200, b"<html>"), "not with a HookHub API response: '<html>'. Check the base URL.", id="HTML with 200"
        ),
        pytest.param(Answer(202, {"events": []}), "not with a HookHub API response", id="fewer events than were sent"),
        pytest.param(
            Answer(301, b"", {"Location": "https://elsewhere.example/"}),
            "redirects to https://elsewhere.example/. Use that address as the base URL.",
            id="a redirect, which must not be followed",
        ),
    ],
)
def test_an_answer_that_is_not_hookhubs_is_an_error_too(
    hookhub: Client, fake: FakeHookHub, answer: Answer, sentence: str
) -> None:
    fake.answers = [answer]

    with pytest.raises(HookHubError) as caught:
        hookhub.publish("push", {})

    assert sentence in str(caught.value)
    assert len(fake.asked) == 1


def test_retry_after_is_honoured(hookhub: Client, fake: FakeHookHub, pauses: list[float]) -> None:
    fake.answers = [refusal(429, "throttled", "Slower.", Retry_After="7")]

    hookhub.publish("push", {})

    assert pauses == [7.0]


def test_a_wait_longer_than_anyone_would_wait_is_an_error(
    hookhub: Client, fake: FakeHookHub, pauses: list[float]
) -> None:
    fake.answers = [refusal(503, "unavailable", "Maintenance.", Retry_After="3600")]

    with pytest.raises(HookHubError, match="503 unavailable: Maintenance"):
        hookhub.publish("push", {})

    assert pauses == []


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, timedelta(0)),
        ("", timedelta(0)),
        ("120", timedelta(seconds=120)),
        ("-1", timedelta(0)),
        ("soon", timedelta(0)),
        # Python 3.9's own parser raises on this.
        ("UTC\tJan , -", timedelta(0)),
        ("Wed, 04 Mar 2026 05:07:07 GMT", timedelta(seconds=60)),
        ("Wed, 04 Mar 2026 05:05:07 GMT", timedelta(0)),
        ("Wed, 04 Mar 2026 05:07:07 -0000", timedelta(seconds=60)),
    ],
)
def test_retry_after_is_read_in_both_forms(header: str | None, expected: timedelta) -> None:
    assert retry_after(header, now=NOW) == expected


@pytest.mark.parametrize(
    ("attempt", "jitter", "expected"),
    [(1, 0.0, 0.25), (1, 1.0, 0.5), (2, 1.0, 1.0), (4, 0.5, 3.0), (7, 1.0, 30.0), (1000, 1.0, 30.0)],
)
def test_backoff_doubles_up_to_its_cap(attempt: int, jitter: float, expected: float) -> None:
    assert backoff(attempt, jitter=jitter) == timedelta(seconds=expected)


def test_a_long_batch_is_cut_at_a_thousand_events(hookhub: Client, fake: FakeHookHub) -> None:
    published = hookhub.publish_batch(Event("push", {"n": n}, id=f"key-{n}") for n in range(2_001))

    assert [len(asked.events) for asked in fake.asked] == [1000, 1000, 1]
    assert [event["data"]["n"] for asked in fake.asked for event in asked.events] == list(range(2_001))
    assert len({event.id for event in published}) == 2_001
    assert fake.connections == 1


def test_a_heavy_batch_is_cut_by_its_bytes(hookhub: Client, fake: FakeHookHub) -> None:
    hookhub.publish_batch(Event("push", "x" * 250_000) for _ in range(9))

    assert [len(asked.events) for asked in fake.asked] == [4, 4, 1]


def test_an_empty_batch_asks_nothing(hookhub: Client, fake: FakeHookHub) -> None:
    assert hookhub.publish_batch([]) == []
    assert fake.asked == []


def test_a_batch_that_fails_half_way_tells_what_was_accepted(hookhub: Client, fake: FakeHookHub) -> None:
    def refuse_the_last(asked: Asked) -> Answer:
        return fake.accept(asked) if len(fake.asked) == 1 else refusal(400, "invalid", "No.")

    fake.otherwise = refuse_the_last

    with pytest.raises(HookHubError) as caught:
        hookhub.publish_batch(Event("push", n) for n in range(1_500))

    assert len(caught.value.published) == len(fake.accepted) == 1000


@pytest.mark.parametrize(
    ("event", "error"),
    [
        pytest.param(Event("push", 1, timestamp=datetime(2026, 3, 4)), ValueError, id="a naive time"),  # noqa: DTZ001
        pytest.param(Event("push", float("nan")), ValueError, id="not a number, which JSON has no word for"),
        pytest.param(Event("push", object()), TypeError, id="not JSON"),
    ],
)
def test_what_cannot_be_said_in_json_is_the_callers_error(
    hookhub: Client, fake: FakeHookHub, event: Event, error: type[Exception]
) -> None:
    with pytest.raises(error):
        hookhub.publish_batch([event])

    assert fake.asked == []


@pytest.mark.parametrize("base", ["{}", "{}/", "{}/v1", "{}/v1/"])
def test_the_base_url_may_be_written_in_any_usual_way(fake: FakeHookHub, base: str) -> None:
    with Client(base.format(fake.url), "k") as hookhub:
        hookhub.publish("push", {})

    assert fake.asked[0].path == "/v1/events"


@pytest.mark.parametrize(
    ("url", "key"), [("hooks.example", "k"), ("ftp://a", "k"), ("http://a", ""), ("http://a", "k\ny")]
)
def test_a_client_that_could_never_work_is_not_made(url: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"base_url|api_key"):
        Client(url, key)


def test_a_netrc_entry_does_not_replace_the_key(
    hookhub: Client, fake: FakeHookHub, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login a password b\n")
    monkeypatch.setenv("NETRC", str(netrc))

    hookhub.publish("push", {})

    assert fake.asked[0].headers["Authorization"] == "Bearer hh_1_secret"
    assert fake.asked[0].headers["HookHub-Dialect"] == "native"


@pytest.mark.parametrize(
    ("call", "method", "path", "body"),
    [
        pytest.param(
            lambda c: c.webhooks.create("https://a.example/", events=["push"], name="n", settings={"timeout": 3}),
            *("POST", "/v1/webhooks", {"url": "https://a.example/", "events": ["push"], "name": "n", "timeout": 3}),
            id="create",
        ),
        pytest.param(lambda c: c.webhooks.get("w"), "GET", "/v1/webhooks/w", None, id="get"),
        pytest.param(lambda c: c.webhooks.get("../x"), "GET", "/v1/webhooks/..%2Fx", None, id="an id that is no path"),
        pytest.param(
            lambda c: c.webhooks.update("w", {"name": None}), "PATCH", "/v1/webhooks/w", {"name": None}, id="update"
        ),
        pytest.param(lambda c: c.webhooks.delete("w"), "DELETE", "/v1/webhooks/w", None, id="delete"),
        pytest.param(
            lambda c: c.webhooks.enable("w", release_held=True),
            *("POST", "/v1/webhooks/w/enable", {"release_held": True}),
            id="enable",
        ),
        pytest.param(lambda c: c.webhooks.disable("w"), "POST", "/v1/webhooks/w/disable", None, id="disable"),
        pytest.param(
            lambda c: c.webhooks.rotate_secret("w"), "POST", "/v1/webhooks/w/rotate-secret", None, id="rotate"
        ),
        pytest.param(
            lambda c: c.alert_channels.rotate_secret("c"),
            "POST",
            "/v1/alert-channels/c/rotate-secret",
            None,
            id="rotate of a channel",
        ),
        pytest.param(lambda c: c.webhooks.ping("w"), "POST", "/v1/webhooks/w/ping", None, id="ping"),
        pytest.param(lambda c: c.webhooks.stats("w"), "GET", "/v1/webhooks/w/stats", None, id="stats"),
        pytest.param(lambda c: c.deliveries.get("d"), "GET", "/v1/deliveries/d", None, id="get a delivery"),
        pytest.param(lambda c: c.deliveries.redeliver("d"), "POST", "/v1/deliveries/d/redeliver", None, id="redeliver"),
        pytest.param(lambda c: c.deliveries.cancel("d"), "POST", "/v1/deliveries/d/cancel", None, id="cancel"),
        pytest.param(
            lambda c: c.replay(webhook="w", state="failed", after=NOW),
            *("POST", "/v1/replays", {"webhook": "w", "state": "failed", "after": "2026-03-04T05:06:07+00:00"}),
            id="replay by filter",
        ),
        pytest.param(
            lambda c: c.replay(state=("failed", "cancelled"), event="e", repository="acme/widgets", type="push"),
            "POST",
            "/v1/replays",
            {"state": ["failed", "cancelled"], "event": "e", "repository": "acme/widgets", "type": "push"},
            id="replay by several states",
        ),
        pytest.param(
            lambda c: c.replay(deliveries=["a", "b"]),
            "POST",
            "/v1/replays",
            {"deliveries": ["a", "b"]},
            id="replay a list",
        ),
    ],
)
def test_every_call_is_one_request(hookhub: Client, fake: FakeHookHub, call, method: str, path: str, body) -> None:
    fake.answers = [Answer(204) if method == "DELETE" else Answer(200, {"id": "x"})]

    call(hookhub)

    (asked,) = fake.asked
    assert (asked.method, asked.path) == (method, path)
    assert (json.loads(asked.body) if asked.body else None) == body


@pytest.mark.parametrize("call", ["create", "ping", "redeliver", "rotate_secret", "replay"])
@pytest.mark.parametrize("trouble", [Answer(hang_up=True), UNAVAILABLE], ids=["broken", "503"])
def test_what_may_have_had_an_effect_is_not_repeated(
    hookhub: Client, fake: FakeHookHub, pauses: list[float], call: str, trouble: Answer
) -> None:
    calls = {
        "create": lambda: hookhub.webhooks.create("https://a.example/", events=["push"]),
        "ping": lambda: hookhub.webhooks.ping("w"),
        "rotate_secret": lambda: hookhub.webhooks.rotate_secret("w"),
        "redeliver": lambda: hookhub.deliveries.redeliver("d"),
        "replay": lambda: hookhub.replay(webhook="w"),
    }
    fake.answers = [trouble]

    with pytest.raises(HookHubError):
        calls[call]()

    assert (len(fake.asked), pauses) == (1, [])


@pytest.mark.parametrize("trouble", [Answer(hang_up=True), Answer(504, b"")], ids=["lost", "504"])
def test_a_repeated_deletion_that_finds_nothing_was_carried_out_before(
    hookhub: Client, fake: FakeHookHub, trouble: Answer
) -> None:
    fake.answers = [trouble, refusal(404, "not_found", "No such webhook.")]

    hookhub.webhooks.delete("w")

    assert [(asked.method, asked.path) for asked in fake.asked] == [("DELETE", "/v1/webhooks/w")] * 2


@pytest.mark.parametrize("answers", [[], [refusal(429, "throttled", "Slower.")]], ids=["at once", "after a 429"])
def test_a_deletion_that_was_not_carried_out_before_and_finds_nothing_is_an_error(
    hookhub: Client, fake: FakeHookHub, answers: list[Answer]
) -> None:
    fake.answers = [*answers, refusal(404, "not_found", "No such webhook.")]

    with pytest.raises(HookHubError, match="404 not_found"):
        hookhub.webhooks.delete("w")


@pytest.mark.parametrize("trouble", [Answer(hang_up=True), UNAVAILABLE], ids=["lost", "503"])
def test_a_repeated_cancellation_of_a_cancelled_delivery_was_carried_out_before(
    hookhub: Client, fake: FakeHookHub, trouble: Answer
) -> None:
    cancelled = {"id": "d", "state": "cancelled"}
    fake.answers = [trouble, refusal(409, "conflict", "Finished."), Answer(200, cancelled)]

    assert hookhub.deliveries.cancel("d") == cancelled

    assert [(asked.method, asked.path) for asked in fake.asked] == [
        ("POST", "/v1/deliveries/d/cancel"),
        ("POST", "/v1/deliveries/d/cancel"),
        ("GET", "/v1/deliveries/d"),
    ]


def test_a_repeated_cancellation_of_a_delivery_in_another_state_is_a_conflict(
    hookhub: Client, fake: FakeHookHub
) -> None:
    delivered = Answer(200, {"id": "d", "state": "delivered"})
    fake.answers = [Answer(hang_up=True), refusal(409, "conflict", "It is delivered."), delivered]

    with pytest.raises(HookHubError) as caught:
        hookhub.deliveries.cancel("d")

    assert str(caught.value) == "HookHub answered 409 conflict: It is delivered."


def test_a_first_cancellation_of_a_cancelled_delivery_is_a_conflict(hookhub: Client, fake: FakeHookHub) -> None:
    fake.answers = [refusal(409, "conflict", "It is cancelled.")]

    with pytest.raises(HookHubError, match="409 conflict: It is cancelled"):
        hookhub.deliveries.cancel("d")

    assert len(fake.asked) == 1


def test_a_throttled_creation_had_no_effect_and_is_repeated(hookhub: Client, fake: FakeHookHub) -> None:
    fake.answers = [refusal(429, "throttled", "Slower."), Answer(201, {"id": "w", "secret": "whsec_x"})]

    assert hookhub.webhooks.create("https://a.example/", events=["push"]) == {"id": "w", "secret": "whsec_x"}


def test_deliveries_are_fetched_page_by_page_as_they_are_needed(hookhub: Client, fake: FakeHookHub) -> None:
    elsewhere = "http://internal.example:8000/v1/deliveries?state=failed&limit=2&cursor=a%2Bb"
    fake.answers = [
        Answer(200, {"next": elsewhere, "previous": None, "results": [{"id": 1}, {"id": 2}]}),
        Answer(200, {"next": None, "previous": "x", "results": [{"id": 3}]}),
    ]

    found = hookhub.deliveries.list(state="failed", page_size=2, after=NOW.astimezone(timezone(timedelta(hours=1))))

    assert fake.asked == []
    assert [next(found), next(found)] == [{"id": 1}, {"id": 2}]
    assert [asked.path for asked in fake.asked] == [
        "/v1/deliveries?state=failed&after=2026-03-04T06%3A06%3A07%2B01%3A00&limit=2"
    ]
    assert list(found) == [{"id": 3}]
    assert fake.asked[1].path == "/v1/deliveries?state=failed&limit=2&cursor=a%2Bb"


def test_deliveries_in_several_states_are_listed_together(hookhub: Client, fake: FakeHookHub) -> None:
    fake.answers = [Answer(200, {"next": None, "previous": None, "results": [{"id": 1}]})]

    assert list(hookhub.deliveries.list(webhook="w", state=["failed", "held"], type="push")) == [{"id": 1}]

    assert [asked.path for asked in fake.asked] == ["/v1/deliveries?webhook=w&state=failed&state=held&type=push"]


@pytest.mark.parametrize("state", ["", [], ()])
def test_no_state_at_all_is_not_every_state(hookhub: Client, fake: FakeHookHub, state: str | Sequence[str]) -> None:
    with pytest.raises(ValueError, match="state must not be empty"):
        hookhub.replay(webhook="w", state=state)
    with pytest.raises(ValueError, match="state must not be empty"):
        hookhub.deliveries.list(state=state)

    assert fake.asked == []


def test_webhooks_are_listed_across_pages(hookhub: Client, fake: FakeHookHub) -> None:
    fake.answers = [
        Answer(200, {"next": "/v1/webhooks?cursor=2", "previous": None, "results": [{"id": 1}]}),
        Answer(200, {"next": None, "previous": None, "results": []}),
    ]

    assert list(hookhub.webhooks.list()) == [{"id": 1}]


def test_a_replay_can_be_waited_for(hookhub: Client, fake: FakeHookHub, pauses: list[float]) -> None:
    running = {"id": "r", "finished_at": None}
    finished = {"id": "r", "finished_at": "2026-03-04T05:06:07Z", "replayed": 3}
    fake.answers = [Answer(202, running), Answer(200, running), Answer(200, finished)]

    replay = hookhub.replay(webhook="w").wait()

    assert (replay.finished, replay.details["replayed"]) == (True, 3)
    assert [asked.path for asked in fake.asked] == ["/v1/replays", "/v1/replays/r", "/v1/replays/r"]
    assert pauses == [1.0, 1.0]


def test_waiting_for_a_replay_ends_in_the_end(hookhub: Client, fake: FakeHookHub) -> None:
    fake.otherwise = lambda _: Answer(200, {"id": "r", "finished_at": None})

    with pytest.raises(TimeoutError, match="replay r is still running"):
        hookhub.replay(webhook="w").wait(timedelta(0))


def test_the_client_needs_no_django() -> None:
    program = (
        "import sys; import hookhub.client; print([m for m in sys.modules if m.startswith(('django', 'deliveries'))])"
    )

    imported = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert imported.stdout == "[]\n"
