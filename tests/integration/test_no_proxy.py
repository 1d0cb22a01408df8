"""A proxy from the environment is used for external hosts, but not for this machine."""

import pytest

from hookhub.client import Client, HookHubError
from hookhub.embedded import service
from tests.receiver import Answer, Receiver


@pytest.fixture
def proxied(monkeypatch: pytest.MonkeyPatch) -> None:
    """Set a proxy that refuses connections, for every scheme, without exceptions."""
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)


def test_whether_a_service_on_this_machine_is_ready_is_asked_past_the_proxy(proxied: None, receiver: Receiver) -> None:
    assert service.is_ready(receiver.url().rstrip("/"))
    assert [request.path for request in receiver.received] == ["/readyz"]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_client_asks_a_service_on_this_machine_past_the_proxy(proxied: None, receiver: Receiver, host: str) -> None:
    receiver.answers["/v1/webhooks/w"] = Answer(200, {"Content-Type": "application/json"}, b'{"id": "w"}')

    with Client(f"http://{host}:{receiver.port}", "hh_key", retries=0) as client:
        assert client.webhooks.get("w") == {"id": "w"}


def test_the_client_asks_any_other_service_through_the_proxy(proxied: None) -> None:
    with Client("http://hooks.example.org", "hh_key", retries=0) as client, pytest.raises(HookHubError) as refused:
        client.webhooks.get("w")

    assert "proxy" in str(refused.value).lower()
