"""Secrets at rest: sealed, rotated, unreadable and tampered with."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet
from pytest_django import Settings

from deliveries import vault
from deliveries.vault import Secret, Unreadable

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
OLD, NEW, STRANGE = (Fernet.generate_key().decode() for _ in range(3))
SECRETS = (Secret("whsec_newest"), Secret('whsec_older "ü" 🎉', NOON))


@pytest.fixture(autouse=True)
def old_key(settings: Settings) -> None:
    settings.HOOKHUB_ENCRYPTION_KEYS = (OLD,)


def test_what_was_sealed_comes_back_in_order_and_cannot_be_read_without_the_key() -> None:
    sealed = vault.seal_secrets(SECRETS)

    assert vault.open_secrets(sealed) == SECRETS
    assert vault.open_secrets(memoryview(sealed)) == SECRETS
    assert b"whsec" not in sealed


def test_headers_come_back_in_order_and_none_at_all_is_none() -> None:
    headers = {"X-Token": "s3cret", "A": "b"}

    assert list(vault.open_headers(vault.seal_headers(headers)).items()) == list(headers.items())
    assert vault.seal_headers({}) is None
    assert vault.open_headers(None) == {}


def test_changing_the_headers_one_was_given_does_not_change_the_next_reading() -> None:
    sealed = vault.seal_headers({"X-Token": "s3cret"})

    vault.open_headers(sealed).clear()

    assert vault.open_headers(sealed) == {"X-Token": "s3cret"}


@pytest.mark.parametrize(("age", "is_live"), [(-1, True), (0, False), (1, False)])
def test_a_secret_signs_until_the_moment_it_expires(age: int, *, is_live: bool) -> None:
    assert Secret("x", NOON).is_live(NOON + timedelta(microseconds=age)) is is_live


def test_a_secret_without_an_end_signs_for_ever() -> None:
    assert Secret("x").is_live(datetime.max.replace(tzinfo=UTC))


def test_a_new_key_in_front_opens_what_the_old_one_sealed_and_seals_with_itself(settings: Settings) -> None:
    sealed = vault.seal_secrets(SECRETS)

    settings.HOOKHUB_ENCRYPTION_KEYS = (NEW, OLD)
    assert vault.open_secrets(sealed) == SECRETS
    resealed = vault.reseal(sealed)

    settings.HOOKHUB_ENCRYPTION_KEYS = (NEW,)
    assert vault.open_secrets(resealed) == SECRETS


def test_a_key_that_was_taken_away_makes_it_unreadable_even_after_it_had_been_read(settings: Settings) -> None:
    secrets, headers = vault.seal_secrets(SECRETS), vault.seal_headers({"A": "b"})
    vault.open_secrets(secrets)
    vault.open_headers(headers)

    settings.HOOKHUB_ENCRYPTION_KEYS = (STRANGE,)

    for open_it in (
        lambda: vault.open_secrets(secrets),
        lambda: vault.open_headers(headers),
        lambda: vault.reseal(secrets),
    ):
        with pytest.raises(Unreadable, match="HOOKHUB_ENCRYPTION_KEYS"):
            open_it()


def tampered(sealed: bytes) -> dict[str, bytes]:
    flipped = bytearray(sealed)
    flipped[len(sealed) // 2] ^= 1
    return {
        "a bit flipped": bytes(flipped),
        "cut short": sealed[:-1],
        "half": sealed[: len(sealed) // 2],
        "empty": b"",
        "not base64": b"\xff\xfe\x00",
        "plain text": b'[["whsec_x",null]]',
    }


@pytest.mark.parametrize("how", tampered(b"x" * 10))
def test_what_was_tampered_with_is_unreadable(how: str) -> None:
    sealed = tampered(vault.seal_secrets(SECRETS))[how]

    with pytest.raises(Unreadable):
        vault.open_secrets(sealed)
    with pytest.raises(Unreadable):
        vault.reseal(sealed)


def test_the_error_names_no_secret() -> None:
    with pytest.raises(Unreadable) as raised:
        vault.open_secrets(b"whsec_in_the_clear")

    assert "whsec" not in str(raised.value)
