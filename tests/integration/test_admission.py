"""Which callers may send a long body, checked against the real database."""

from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from deliveries.models import Organization
from hookhub.http import authentication
from hookhub.models import Scope
from hookhub.server.admission import refusal_of_caller
from tests.api import Caller

COOKIE = "HTTP_COOKIE"


def key_of(organization: Organization) -> dict[str, Any]:
    return {"HTTP_AUTHORIZATION": Caller.of(organization, Scope.PUBLISH).headers["Authorization"]}


@pytest.mark.django_db(transaction=True)
def test_a_known_key_and_a_browser_that_is_logged_in_may_and_others_may_not(organization: Organization) -> None:
    browser = Client()
    browser.force_login(User.objects.create_user("ann"))
    session = browser.cookies["sessionid"].value
    wrong = {"HTTP_AUTHORIZATION": "Bearer hh_000000000000_wrong-wrong-wrong-wrong"}
    nul = 'sessionid="abcdefghijklmnopqrstuvwxyzabcdef\\000"'
    callers: list[dict[str, Any]] = [{}, wrong, {COOKIE: "sessionid=unknown-unknown"}, {COOKIE: nul}]
    # If a key is sent, it alone counts, as in the views.
    callers.append({**wrong, COOKIE: f"sessionid={session}"})

    refused = [refusal_of_caller(caller) for caller in callers]

    assert [refusal and refusal.status for refusal in refused] == [401] * 5
    assert refusal_of_caller({COOKIE: f"a=b; sessionid={session}"}) is None
    assert refusal_of_caller(key_of(organization)) is None


@pytest.mark.django_db(transaction=True)
def test_a_connection_that_the_server_has_ended_refuses_no_body(organization: Organization) -> None:
    known = key_of(organization)
    with psycopg.connect(connection.connection.info.dsn, autocommit=True) as link:
        link.execute("SELECT pg_terminate_backend(%s, 10000)", [connection.connection.info.backend_pid])
    authentication.invalidate_all()

    assert refusal_of_caller(known) is None
    assert authentication.cached_key(known["HTTP_AUTHORIZATION"].split("_")[1], now=timezone.now()) is not None
