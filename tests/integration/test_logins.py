"""Login attempts: their limits, and what is recorded about them."""

import logging
from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.test import Client
from pytest_django import Settings

from deliveries import rates

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
DOORS = ["/admin/login/", "/v1/auth/login/"]


@pytest.fixture(autouse=True)
def counted_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use counters that start empty and are not synchronized."""
    alone = rates.Counters(mock.Mock(), prefix="test", in_background=False)
    monkeypatch.setattr(rates, "_counters", alone)


@pytest.fixture
def mona() -> User:
    return User.objects.create_superuser("mona", password=PASSWORD)


def log_in(
    name: str, password: str, *, door: str = DOORS[0], address: str = "192.0.2.1", client: Client | None = None
) -> int:
    given = {"username": name, "password": password}
    return (client or Client()).post(door, given, REMOTE_ADDR=address).status_code


@pytest.mark.parametrize("door", DOORS)
def test_attempts_beyond_the_limit_are_refused_before_a_password_is_hashed(
    mona: User, settings: Settings, door: str
) -> None:
    settings.HOOKHUB_LOGINS_PER_NAME = 3
    tried = [log_in("mona", "wrong", door=door) for _ in range(3)]

    with mock.patch("django.contrib.auth.hashers.check_password", side_effect=AssertionError):
        refused = Client().post(door, {"username": "mona", "password": PASSWORD}, REMOTE_ADDR="198.51.100.1")

    assert (tried, refused.status_code) == ([200] * 3, 429)
    assert int(refused.headers["Retry-After"]) >= 1


def test_an_address_has_a_limit_over_all_names(mona: User, settings: Settings) -> None:
    settings.HOOKHUB_LOGINS_PER_ADDRESS = 3

    assert [log_in(f"name{number}", "wrong") for number in range(4)] == [200, 200, 200, 429]
    assert log_in("mona", PASSWORD, address="198.51.100.1") == 302


def test_strangers_do_not_keep_a_person_out_of_a_browser_that_is_known(mona: User, settings: Settings) -> None:
    settings.HOOKHUB_LOGINS_PER_NAME = 2
    browser, other = Client(), Client()
    assert log_in("mona", PASSWORD, client=browser) == 302
    browser.post("/admin/logout/")
    assert [log_in("mona", "wrong", address=f"198.51.100.{n}") for n in range(3)] == [200, 200, 429]
    other.cookies[settings.HOOKHUB_DEVICE_COOKIE] = "forged"

    assert log_in("mona", PASSWORD, client=other) == 429
    assert log_in("mona", PASSWORD, client=browser) == 302


def test_logging_in_rightly_uses_nothing_up(mona: User, settings: Settings) -> None:
    settings.HOOKHUB_LOGINS_PER_NAME = settings.HOOKHUB_LOGINS_PER_ADDRESS = 1

    assert [log_in("mona", PASSWORD) for _ in range(3)] == [302] * 3


def test_every_attempt_is_recorded_with_name_and_address(mona: User, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "hookhub.logins")

    log_in("mona\nfaked", "secret-typo")
    log_in("mona", PASSWORD)

    assert [record.getMessage() for record in caplog.records if record.name == "hookhub.logins"] == [
        "login failed: name 'mona\\nfaked', address 192.0.2.1",
        "login succeeded: name 'mona', address 192.0.2.1",
    ]


@pytest.mark.parametrize("password", ["short-one", "password1234", "123456789012345", "mona-the-octocat"])
def test_a_password_that_is_easy_to_guess_is_refused(password: str) -> None:
    with pytest.raises(ValidationError):
        validate_password(password, User(username="mona-octocat"))
