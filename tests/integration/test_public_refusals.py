"""What an owner reads about a rejected URL, and the operator's TLS rules for existing webhooks."""

import logging
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest
from pytest_django import Settings

from deliveries.models import Attempt, Webhook
from deliveries.policy.outcomes import NoResponse
from deliveries.sending import ssrf, url
from deliveries.sending.sender import Sender, policy_from_settings
from deliveries.sending.url import InvalidURL
from deliveries.webhooks import changing
from deliveries.webhooks.fields import InvalidFields
from hookhub.models import Scope
from tests.api import Caller, faults
from tests.certificates import Identity
from tests.integration.test_sender import a_request, exchange, kind_of
from tests.receiver import Receiver
from tests.story import Forge, deliver_due

SENTENCE = (
    "Connections to {} are not allowed: it resolves to a blocked address. Ask the operator: "
    "the log has the address and the setting that allows it."
)
HTTPS = "The URL must begin with https://: HOOKHUB_HTTPS_ONLY is enabled."


@pytest.fixture
def strict() -> Iterator[Sender]:
    made = Sender(slots=4, policy=ssrf.Policy(), certificates="")
    yield made
    made.close()


def test_a_private_names_address_is_in_the_log_and_not_in_the_refusal(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "hookhub.guard")

    with pytest.raises(InvalidURL) as refused:
        url.check("https://ci.corp/", policy=ssrf.Policy(), resolve=lambda _host: ["10.20.30.40"])

    assert refused.value.message == SENTENCE.format("ci.corp")
    logged = (
        "Rejected a webhook URL: Connections to ci.corp are not allowed: it resolves to 10.20.30.40, which is in "
        "10.0.0.0/8 (private networks). The operator can allow them by adding 10.20.30.40/32 to "
        "HOOKHUB_ALLOWED_NETWORKS or ci.corp to HOOKHUB_ALLOWED_HOSTS."
    )
    assert caplog.messages == [logged]


def test_a_private_names_address_is_not_in_the_delivery_log(
    strict: Sender, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "hookhub.guard")

    found = exchange(strict, a_request(f"http://a.localhost:{receiver.port}/"))

    assert found.result == NoResponse("forbidden", SENTENCE.format("a.localhost"), "address_blocked")
    assert receiver.connections == 0
    assert any(
        "a.localhost are not allowed: it resolves to 127.0.0.1, which is" in message for message in caplog.messages
    )


def test_a_forbidden_port_is_refused_by_the_hosts_name_not_by_its_address() -> None:
    said = ssrf.public_refusal("10.0.0.5", 6379, policy=ssrf.Policy(), host="ci.corp")

    assert (
        said
        == "Connections to port 6379 of ci.corp are not allowed: Redis usually listens there. No setting changes this."
    )


def test_an_address_in_the_url_may_be_named() -> None:
    said = ssrf.public_refusal("10.0.0.5", 443, policy=ssrf.Policy(), host="10.0.0.5")

    assert said == ssrf.refusal("10.0.0.5", 443, policy=ssrf.Policy(), host="10.0.0.5")
    assert ssrf.public_refusal("93.184.216.34", 443, policy=ssrf.Policy(), host="example.com") is None


@pytest.mark.django_db
def test_existing_http_webhooks_get_nothing_once_https_is_demanded(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    forge.webhook(now=now, events=["*"])
    forge.accept(now=now)
    settings.HOOKHUB_HTTPS_ONLY = True

    sender = Sender(slots=1, policy=policy_from_settings(), certificates="")
    deliver_due(sender, now=now)
    sender.close()

    assert Attempt.objects.get().error == HTTPS
    assert forge.receiver.connections == 0


@pytest.mark.django_db
def test_an_http_webhook_can_be_changed_only_to_https_and_disabled(
    forge: Forge, now: datetime, settings: Settings
) -> None:
    webhook = forge.webhook(now=now)
    settings.HOOKHUB_HTTPS_ONLY = True
    ours = Caller.of(forge.organization, Scope.MASTER)

    refused = ours.patch(f"/v1/webhooks/{webhook.uid}", {"name": "ci"})

    assert (refused.status_code, faults(refused)) == (
        422,
        {"url": "must begin with https://: HOOKHUB_HTTPS_ONLY is enabled"},
    )
    assert Webhook.objects.get().name == ""
    with pytest.raises(InvalidFields, match="HOOKHUB_HTTPS_ONLY"):
        changing.validate_change(webhook, {"name": "ci"})
    assert ours.patch(f"/v1/webhooks/{webhook.uid}", {"active": True}).status_code == 422
    assert ours.patch(f"/v1/webhooks/{webhook.uid}", {"active": False}).status_code == 200
    assert ours.patch(f"/v1/webhooks/{webhook.uid}", {"url": "https://127.0.0.1:8443/"}).status_code == 200


def test_a_required_verification_holds_for_requests_that_ask_for_none(tmp_path: Path, settings: Settings) -> None:
    identity = Identity.make(tmp_path / "self.pem", "receiver", address="127.0.0.1")
    settings.HOOKHUB_REQUIRE_TLS_VERIFICATION = True
    other = Identity.make(tmp_path / "other.pem", "Other")
    sender = Sender(slots=1, policy=policy_from_settings(), certificates=str(other.path))

    with Receiver(tls=identity.server_context()) as receiver:
        found = exchange(sender, a_request(receiver.url(), verify_ssl=False))
    sender.close()

    assert kind_of(found) == "tls"
    assert receiver.received == []


@pytest.mark.django_db
def test_the_operators_veto_on_unchecked_certificates_is_named_at_each_door(forge: Forge, settings: Settings) -> None:
    settings.HOOKHUB_REQUIRE_TLS_VERIFICATION = True
    ours = Caller.of(forge.organization, Scope.MASTER)
    url = "https://127.0.0.1:8443/"

    native = ours.post("/v1/webhooks", {"url": url, "events": ["*"], "verify_ssl": False})
    github = ours.post("/repos/acme/widgets/hooks", {"config": {"url": url, "insecure_ssl": "1"}, "events": ["push"]})

    rule = "HOOKHUB_REQUIRE_TLS_VERIFICATION is enabled"
    assert (native.status_code, faults(native)) == (422, {"verify_ssl": f"must be true: {rule}"})
    assert github.status_code == 422
    assert f'must be "0": {rule}' in github.json()["errors"][0]["message"]
    assert not Webhook.objects.exists()
