"""API keys and secrets on the command line: expiry, networks, rolling, and the sources of secrets."""

import errno
import io
import os
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from freezegun import freeze_time
from pytest_django import Settings

from deliveries.models import AuditEntry, Organization
from hookhub.management.commands.listen import secrets_of
from hookhub.models import ApiKey, Scope, digest

NOW = datetime(2026, 3, 4, 12, tzinfo=UTC)


def run(*words: str) -> tuple[str, str]:
    out, err = StringIO(), StringIO()
    call_command(*words, stdout=out, stderr=err, no_color=True)
    return out.getvalue(), err.getvalue()


def secret_of(text: str) -> bytes:
    return digest(text.strip().split("_")[2])


@pytest.fixture
def key(db: None) -> ApiKey:
    acme = Organization.objects.create(slug="acme")
    return ApiKey.issue(organization=acme, scope=Scope.READ, now=NOW)[0]


@pytest.mark.parametrize(
    ("options", "expires_at"),
    [
        (["--expires-in", "90"], NOW + timedelta(days=90)),
        (["--expires-at", "2026-06-01T08:00:00+02:00"], datetime(2026, 6, 1, 6, tzinfo=UTC)),
        (["--expires-at", "2026-06-01t06:00:00z"], datetime(2026, 6, 1, 6, tzinfo=UTC)),
        (["--expires-at", "2026-06-01T08:00:00"], datetime(2026, 6, 1, 8, tzinfo=UTC)),
        ([], None),
    ],
)
def test_a_key_made_at_the_command_line_has_an_expiry_and_networks(
    db: None, options: list[str], expires_at: datetime | None
) -> None:
    Organization.objects.create(slug="acme")

    with freeze_time(NOW):
        run("create_api_key", *options, "--network", "192.0.2.7", "--network", "2001:db8::/32")

    key = ApiKey.objects.get()
    assert key.expires_at == expires_at
    assert key.allowed_networks == ["192.0.2.7/32", "2001:db8::/32"]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--expires-in", "0"], "--expires-in: must be from 1 to 36500 days."),
        (["--expires-in", "999999999999"], "--expires-in: must be from 1 to 36500 days."),
        (["--expires-at", "2026-03-04T12:00:00Z"], "--expires-at: must be in the future."),
        (["--expires-at", "soon"], "--expires-at: must be a time such as 2027-01-31T12:00:00Z, not 'soon'."),
        (
            ["--expires-at", "2026-13-01T00:00Z"],
            "--expires-at: must be a time such as 2027-01-31T12:00:00Z, not '2026-13-01T00:00Z'.",
        ),
        (["--network", "home"], "--network: 'home' is not a valid IP address or network: "),
    ],
)
def test_a_key_whose_expiry_or_network_is_wrong_is_not_made(db: None, options: list[str], complaint: str) -> None:
    with freeze_time(NOW), pytest.raises(CommandError) as raised:
        run("create_api_key", "--organization", "new", "--create-organization", *options)

    assert str(raised.value).startswith(complaint)
    assert (ApiKey.objects.count(), Organization.objects.count()) == (0, 0)


@pytest.mark.parametrize(
    ("options", "overlap"),
    [([], timedelta(hours=5)), (["--overlap", "60"], timedelta(seconds=60)), (["--overlap", "0"], None)],
)
def test_a_key_is_rolled_at_the_command_line(
    key: ApiKey, settings: Settings, options: list[str], overlap: timedelta | None
) -> None:
    settings.HOOKHUB_SECRET_OVERLAP = timedelta(hours=5)
    old = bytes(key.secret_hash)

    with freeze_time(NOW):
        out, err = run("roll_api_key", key.key_id, "--expires-in", "30", *options)

    key.refresh_from_db()
    assert out.count("\n") == 1
    assert out.split("_")[:2] == ["hh", key.key_id]
    assert bytes(key.secret_hash) == secret_of(out) != old
    assert key.previous_secret_expires_at == (NOW + overlap if overlap else None)
    assert key.previous_secret_hash == (old if overlap else None)
    assert key.expires_at == NOW + timedelta(days=30)
    assert out.strip().split("_")[2] not in err
    entry = AuditEntry.objects.get(action="api_key.rolled")
    assert (entry.actor_kind, entry.actor_id, entry.target_id) == ("command", "roll_api_key", key.key_id)


class FullDisk(StringIO):
    def flush(self) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_key_that_cannot_be_shown_is_neither_made_nor_rolled(key: ApiKey) -> None:
    before = bytes(key.secret_hash)

    with pytest.raises(OSError, match="No space left on device"):
        call_command("roll_api_key", key.key_id, "--overlap", "0", stdout=FullDisk(), stderr=StringIO())
    with pytest.raises(OSError, match="No space left on device"):
        call_command("create_api_key", "--organization", "acme", stdout=FullDisk(), stderr=StringIO())

    key.refresh_from_db()
    assert bytes(key.secret_hash) == before
    assert list(ApiKey.objects.all()) == [key]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["nosuchkey000"], "API key 'nosuchkey000' does not exist."),
        (["\0"], r"API key '\x00' does not exist."),
        (["\udce9"], r"API key '\udce9' does not exist."),
        (["hh_1_secret"], "Pass only the key's id, the 12 characters after hh_, without the secret."),
        (["ID", "--overlap", "-1"], "--overlap: must be from 0 to 2592000 seconds."),
        (["ID", "--overlap", "2592001"], "--overlap: must be from 0 to 2592000 seconds."),
        (["REVOKED"], "revoked_at is set: the key has been revoked; create a new key."),
    ],
)
def test_what_cannot_be_rolled_stays_as_it_is(key: ApiKey, words: list[str], complaint: str) -> None:
    if words == ["REVOKED"]:
        key.revoke(now=NOW)
    before = bytes(key.secret_hash)

    with freeze_time(NOW), pytest.raises(CommandError) as raised:
        run("roll_api_key", *[key.key_id if word in {"ID", "REVOKED"} else word for word in words])

    key.refresh_from_db()
    assert str(raised.value) == complaint
    assert bytes(key.secret_hash) == before
    assert not AuditEntry.objects.filter(action="api_key.rolled").exists()


@pytest.mark.parametrize("where", ["file", "standard input", "environment"])
def test_listen_takes_secrets_from_elsewhere_than_the_list_of_processes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    text = "whsec_new\n\nwhsec_old\n"
    (tmp_path / "secrets").write_text(text)
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    monkeypatch.setenv("HOOKHUB_WEBHOOK_SECRET", text if where == "environment" else "whsec_other")
    file = {"file": str(tmp_path / "secrets"), "standard input": "-", "environment": None}[where]

    assert secrets_of({"secret": [], "secret_file": file}) == ("whsec_new", "whsec_old")


def test_a_file_without_a_secret_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("\n")

    with pytest.raises(CommandError, match=r"^--secret-file: the file is empty\.$"):
        secrets_of({"secret": [], "secret_file": str(tmp_path / "empty")})


def test_a_secret_given_in_the_place_of_its_file_is_not_repeated(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\xfa")

    for name, reason in (
        ("whsec_hidden", "No such file or directory"),
        (str(tmp_path / "bytes"), "it is not valid UTF-8"),
    ):
        with pytest.raises(CommandError) as refused:
            secrets_of({"secret": [], "secret_file": name})

        assert str(refused.value) == f"Cannot read the file given with --secret-file: {reason}."
        assert refused.value.__cause__ is None
