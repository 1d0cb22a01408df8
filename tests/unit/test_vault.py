"""Secrets at rest: encrypted, rotated, unreadable and tampered with."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cryptography.fernet import Fernet
from pytest_django import Settings

from deliveries import vault
from deliveries.vault import Secret, Tampered, Unreadable

NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
OLD, NEW, STRANGE = (Fernet.generate_key().decode() for _ in range(3))
ROW = UUID("019cb8b8-1e00-7000-8000-0000000000aa")
OTHER_ROW = UUID("019cb8b8-1e00-7000-8000-0000000000ab")
SECRETS = (Secret("whsec_newest"), Secret('whsec_older "ü" 🎉', NOON))


@pytest.fixture(autouse=True)
def old_key(settings: Settings) -> None:
    settings.HOOKHUB_ENCRYPTION_KEYS = (OLD,)


def test_sealed_secrets_open_in_order_and_only_with_the_key() -> None:
    sealed = vault.seal_secrets(SECRETS, of=ROW)

    assert vault.open_secrets(sealed, of=ROW) == SECRETS
    assert vault.open_secrets(memoryview(sealed), of=ROW) == SECRETS
    assert b"whsec" not in sealed


def test_headers_open_in_order_and_none_at_all_is_none() -> None:
    headers = {"X-Token": "s3cret", "A": "b"}

    assert list(vault.open_headers(vault.seal_headers(headers, of=ROW), of=ROW).items()) == list(headers.items())
    assert vault.seal_headers({}, of=ROW) is None
    assert vault.open_headers(None, of=ROW) == {}


def test_changing_the_headers_one_was_given_does_not_change_the_next_reading() -> None:
    sealed = vault.seal_headers({"X-Token": "s3cret"}, of=ROW)

    vault.open_headers(sealed, of=ROW).clear()

    assert vault.open_headers(sealed, of=ROW) == {"X-Token": "s3cret"}


@pytest.mark.parametrize(("age", "is_live"), [(-1, True), (0, False), (1, False)])
def test_a_secret_signs_until_the_moment_it_expires(age: int, *, is_live: bool) -> None:
    assert Secret("x", NOON).is_live(NOON + timedelta(microseconds=age)) is is_live


def test_a_secret_without_an_expiry_signs_for_ever() -> None:
    assert Secret("x").is_live(datetime.max.replace(tzinfo=UTC))


def test_a_new_key_in_front_opens_what_the_old_one_sealed_and_seals_with_itself(settings: Settings) -> None:
    sealed = vault.seal_secrets(SECRETS, of=ROW)

    settings.HOOKHUB_ENCRYPTION_KEYS = (NEW, OLD)
    assert vault.open_secrets(sealed, of=ROW) == SECRETS
    resealed = vault.reseal(sealed, column=vault.SECRETS, of=ROW)

    settings.HOOKHUB_ENCRYPTION_KEYS = (NEW,)
    assert vault.open_secrets(resealed, of=ROW) == SECRETS


def test_removing_a_key_makes_a_value_unreadable_even_after_it_was_opened(settings: Settings) -> None:
    secrets, headers = vault.seal_secrets(SECRETS, of=ROW), vault.seal_headers({"A": "b"}, of=ROW)
    vault.open_secrets(secrets, of=ROW)
    vault.open_headers(headers, of=ROW)

    settings.HOOKHUB_ENCRYPTION_KEYS = (STRANGE,)

    for open_it in (
        lambda: vault.open_secrets(secrets, of=ROW),
        lambda: vault.open_headers(headers, of=ROW),
        lambda: vault.reseal(secrets, column=vault.SECRETS, of=ROW),
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
def test_a_tampered_value_is_unreadable(how: str) -> None:
    sealed = tampered(vault.seal_secrets(SECRETS, of=ROW))[how]

    with pytest.raises(Unreadable):
        vault.open_secrets(sealed, of=ROW)
    with pytest.raises(Unreadable):
        vault.reseal(sealed, column=vault.SECRETS, of=ROW)


def test_the_error_names_no_secret() -> None:
    with pytest.raises(Unreadable) as raised:
        vault.open_secrets(b"whsec_in_the_clear", of=ROW)

    assert "whsec" not in str(raised.value)


def test_a_value_that_is_copied_to_another_row_does_not_open() -> None:
    secrets, headers = vault.seal_secrets(SECRETS, of=ROW), vault.seal_headers({"A": "b"}, of=ROW)
    vault.open_secrets(secrets, of=ROW)
    vault.open_headers(headers, of=ROW)

    with pytest.raises(Tampered, match="for another webhook"):
        vault.open_secrets(secrets, of=OTHER_ROW)
    with pytest.raises(Tampered):
        vault.open_headers(headers, of=OTHER_ROW)
    with pytest.raises(Tampered):
        vault.reseal(secrets, column=vault.SECRETS, of=OTHER_ROW)


def test_a_value_that_is_copied_to_another_column_does_not_open() -> None:
    sealed = vault.seal_secrets(SECRETS, of=ROW)

    with pytest.raises(Tampered):
        vault.open_headers(sealed, of=ROW)


def test_a_row_is_the_same_whether_its_id_is_written_or_not() -> None:
    assert vault.open_secrets(vault.seal_secrets(SECRETS, of=ROW), of=str(ROW)) == SECRETS


def test_a_value_tells_which_key_sealed_it(settings: Settings) -> None:
    sealed = vault.seal_secrets(SECRETS, of=ROW)
    assert vault.is_current(sealed)

    settings.HOOKHUB_ENCRYPTION_KEYS = (NEW, OLD)

    assert not vault.is_current(sealed)
    assert vault.is_current(vault.reseal(sealed, column=vault.SECRETS, of=ROW))


def test_sealing_the_same_twice_yields_different_bytes() -> None:
    assert vault.seal_secrets(SECRETS, of=ROW) != vault.seal_secrets(SECRETS, of=ROW)
