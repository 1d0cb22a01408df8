"""Login attempts are counted by the user whose password is tried, however the name is spelled."""

from unittest import mock

import pytest
from django.contrib.auth.models import User
from django.test import Client
from pytest_django import Settings

from deliveries import rates

pytestmark = pytest.mark.django_db

PASSWORD = "correct horse battery"
# Django's form reads these as "mona": it strips spaces and applies NFKC normalization.
SPELLINGS = ("ｍona", "𝐦ona", "m𝓸na", " mona ", "\u3000mona", "ｍｏｎａ")


@pytest.fixture(autouse=True)
def counted_here_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Use counters that start empty and are not synchronized."""
    alone = rates.Counters(mock.Mock(), prefix="test", in_background=False)
    monkeypatch.setattr(rates, "_counters", alone)


def log_in(name: str, *, address: str = "192.0.2.1") -> int:
    given = {"username": name, "password": PASSWORD}
    return Client().post("/admin/login/", given, REMOTE_ADDR=address).status_code


@pytest.mark.parametrize("spelling", [*SPELLINGS, f"{' ' * 200}mona"])
def test_another_spelling_of_a_name_is_no_other_name_to_count_by(settings: Settings, spelling: str) -> None:
    settings.HOOKHUB_LOGINS_PER_NAME = 1
    user = User.objects.create_superuser("mona", password="another password")

    assert log_in("mona") == 200
    assert log_in(spelling, address="198.51.100.1") == 429

    user.set_password(PASSWORD)
    user.save()
    assert log_in(spelling, address="198.51.100.1") == 429


def test_the_spellings_are_those_that_log_in(settings: Settings) -> None:
    User.objects.create_superuser("mona", password=PASSWORD)

    assert [log_in(spelling) for spelling in (*SPELLINGS, f"{' ' * 200}mona")] == [302] * 7
