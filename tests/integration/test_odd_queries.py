"""Addresses that programs which try everything ask for."""

import pytest
from django.test import Client

from tests.api import Caller, faults
from tests.receiver import Receiver

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("hours", ["000001999999999999", "9" * 5000, "-1", "1e3"])
def test_statistics_of_more_hours_than_there_are_are_refused(api: Caller, receiver: Receiver, hours: str) -> None:
    uid = api.post("/v1/webhooks", {"url": receiver.url(), "events": ["*"]}).json()["id"]

    answer = api.get(f"/v1/webhooks/{uid}/stats?hours={hours}")

    assert (answer.status_code, faults(answer)) == (422, {"hours": "must be a whole number from 1 to 2160"})


@pytest.mark.parametrize("query", ["", "?format=api", "?format=json"])
def test_the_documentation_is_found_in_every_format_that_is_asked_for(api: Caller, query: str) -> None:
    answer = Client().get(f"/v1/docs{query}", headers=api.headers)

    assert (answer.status_code, answer["Content-Type"].partition(";")[0]) == (200, "text/html")


def test_a_request_with_a_byte_order_mark_is_read(api: Caller) -> None:
    made = api.post("/v1/repositories", b"\xef\xbb\xbf" + b'{"name":"gadgets"}')

    assert (made.status_code, made.json()["name"]) == (201, "gadgets")
