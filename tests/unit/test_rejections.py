"""What Django itself or a list of networks rejects: the words are ours, and nothing of what was sent comes back."""

import json

import pytest
from django.core.exceptions import (
    BadRequest,
    DisallowedHost,
    PermissionDenied,
    RequestDataTooBig,
    TooManyFieldsSent,
    TooManyFilesSent,
)
from django.test import RequestFactory

from hookhub.http import errors, networks

SENT = "what-was-sent"
FIELDS = "The request has too many form fields; send JSON instead."
REJECTED = {
    "a body that is too large": (RequestDataTooBig(SENT), 413, "too_large", "The request is too large."),
    "an unknown host": (
        DisallowedHost(SENT),
        400,
        "malformed",
        "Unknown host in the request. The operator can add it to HOOKHUB_SERVED_HOSTS.",
    ),
    "too many fields": (TooManyFieldsSent(SENT), 400, "malformed", FIELDS),
    "too many files": (TooManyFilesSent(SENT), 400, "malformed", FIELDS),
    "anything else": (BadRequest(SENT), 400, "malformed", "The request is malformed."),
}


@pytest.mark.parametrize(("exception", "status", "code", "message"), REJECTED.values(), ids=REJECTED)
def test_a_program_gets_json_in_our_words(exception: Exception, status: int, code: str, message: str) -> None:
    answer = errors.malformed_request(RequestFactory().post("/v1/events"), exception)

    assert answer.status_code == status
    assert json.loads(answer.content)["error"] == {"code": code, "message": message, "fields": []}


@pytest.mark.parametrize("exception", [row[0] for row in REJECTED.values()], ids=REJECTED)
def test_a_person_in_the_admin_gets_a_page(exception: Exception) -> None:
    answer = errors.malformed_request(RequestFactory().post("/admin/"), exception)

    assert (answer.status_code, answer["Content-Type"]) == (400, "text/html; charset=utf-8")
    assert SENT not in answer.content.decode()


def test_what_is_forbidden_outside_of_the_views_is_json_for_programs_and_a_page_for_people() -> None:
    program, person = (
        errors.forbidden(RequestFactory().get(path), PermissionDenied(SENT)) for path in ("/v1/events", "/admin/")
    )

    assert (program.status_code, person.status_code) == (403, 403)
    assert json.loads(program.content)["error"] == {"code": "forbidden", "message": "Forbidden.", "fields": []}
    assert person["Content-Type"] == "text/html; charset=utf-8"


NOT_NETWORKS = {
    "no list": ("192.0.2.7", "must be a list of IP addresses and networks"),
    "a list of numbers": ([1], "must be a list of IP addresses and networks"),
    "too many": (["192.0.2.7"] * 101, "must have at most 100 entries"),
    "a zone": (["fe80::1%eth0"], "'fe80::1%eth0' has a zone"),
    "no address": (["192.0.2.300"], "'192.0.2.300' is not a valid IP address or network"),
    "bits outside of the mask": (["192.0.2.7/24"], "'192.0.2.7/24' is not a valid IP address or network"),
}


@pytest.mark.parametrize(("given", "why"), NOT_NETWORKS.values(), ids=NOT_NETWORKS)
def test_what_is_no_list_of_networks_is_refused(given: object, why: str) -> None:
    with pytest.raises(networks.InvalidNetworks, match=why):
        networks.normalized(given)


def test_networks_are_kept_in_one_notation_each_once() -> None:
    given = ["192.0.2.7", " 192.0.2.7/32", "2001:DB8::/32", "::ffff:192.0.2.0/120"]

    assert networks.normalized(given) == ["192.0.2.7/32", "2001:db8::/32", "192.0.2.0/24"]


CONTAINED = {
    "an address of the network": ("192.0.2.7", True),
    "the same in IPv6": ("::ffff:192.0.2.7", True),
    "another address": ("192.0.3.7", False),
    "no address": ("unknown", False),
    "nothing": ("", False),
}


@pytest.mark.parametrize(("address", "is_inside"), CONTAINED.values(), ids=CONTAINED)
def test_an_address_is_inside_whatever_its_notation(address: str, *, is_inside: bool) -> None:
    assert networks.contains(["192.0.2.0/24", "2001:db8::/32"], address) is is_inside
