"""How the client handles names in events, against a real server."""

from hookhub.client import Client
from tests.fake_hookhub import fake_hookhub


def test_a_name_that_is_not_utf_8_is_published() -> None:
    with fake_hookhub() as fake, Client(fake.url, "hh_1_secret") as client:
        client.publish("push", {"ref": b"caf\xe9".decode(errors="surrogateescape"), "name": "caf\u00e9"})

    (asked,) = fake.asked
    assert asked.events[0]["data"] == {"ref": "caf\udce9", "name": "caf\u00e9"}
    assert b'"caf\\udce9"' in asked.body
