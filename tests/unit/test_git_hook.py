"""The git hook: what it cuts, how it dates commits, whose privileges it has, and what it says of failures."""

import io
import json
import os
import pwd
import stat
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest

from hookhub.git import files, hook, launcher, listing, privileges
from hookhub.git.commits import MAX_SECONDS, moment
from hookhub.git.size_limits import MAX_COMMIT_BYTES, newest_within, size_of, truncate_paths
from hookhub.git.spool import Spool, SpoolFull

OLD, NEW = b"1" * 40, b"2" * 40

DATES = {
    "as git wrote it": ("1772597168 +0100", "2026-03-04T05:06:08+01:00", 1772597168),
    "in UTC": ("1772597168 +0000", "2026-03-04T04:06:08+00:00", 1772597168),
    "west of UTC": ("1772597168 -0330", "2026-03-04T00:36:08-03:30", 1772597168),
    "a zone of minutes that no hour has": ("1772597168 +0160", "2026-03-04T04:06:08Z", 1772597168),
    "a text without a zone": ("1772597168", "2026-03-04T04:06:08Z", 1772597168),
    "before 1970": ("-1 +0000", "1970-01-01T00:00:00Z", 0),
    "before 1970 by its own clock": ("0 -1200", "1969-12-31T12:00:00-12:00", 0),
    "after the year 9999": ("253402300800 +0000", "9999-12-31T23:59:59Z", MAX_SECONDS),
    "after the year 9999 by its own clock": ("253402300799 +0100", "9999-12-31T23:59:59Z", MAX_SECONDS),
    "no number": ("%cd", "1970-01-01T00:00:00Z", 0),
    "a number with two signs": ("--5 +0100", "1970-01-01T00:00:00Z", 0),
    "a number of twenty digits": ("9" * 20, "1970-01-01T00:00:00Z", 0),
    "digits of another script": ("١٢ +٠١٠٠", "1970-01-01T00:00:00Z", 0),
}


@pytest.mark.parametrize(("raw", "date", "at"), DATES.values(), ids=DATES)
def test_a_commits_date_is_valid_whatever_the_commit_says(raw: str, date: str, at: int) -> None:
    assert moment(raw) == (date, at)


def commit_of(paths: int, *, length: int = 100) -> dict[str, Any]:
    names = [f"{number:0{length}d}" for number in range(paths)]
    return {"id": "1", "added": names, "removed": names[: paths // 2], "modified": [], "truncated": False}


def test_a_commit_that_fits_keeps_its_paths() -> None:
    assert truncate_paths(commit_of(10)) == commit_of(10)


def test_a_commit_that_is_too_large_keeps_its_first_paths_and_says_so() -> None:
    whole = commit_of(6000)

    cut = truncate_paths(whole)

    assert size_of(cut) <= MAX_COMMIT_BYTES < size_of(whole)
    assert (cut["truncated"], cut["added"], cut["removed"]) == (True, whole["added"][:750], whole["removed"][:750])


def test_a_commit_that_is_too_large_without_any_path_is_left_with_none() -> None:
    cut = truncate_paths({**commit_of(2), "message": "x" * MAX_COMMIT_BYTES})

    assert (cut["added"], cut["removed"], cut["truncated"]) == ([], [], True)


def test_the_newest_commits_that_fit_come_oldest_first() -> None:
    newest = [{"id": str(number)} for number in range(5)]

    assert newest_within(newest, max_bytes=3 * size_of(newest[0])) == [{"id": "2"}, {"id": "1"}, {"id": "0"}]
    assert newest_within(newest, max_bytes=0) == []


def test_a_listing_that_fails_says_what_git_said(tmp_path: Path) -> None:
    environment = {"PATH": os.environ["PATH"], "GIT_DIR": str(tmp_path)}

    with pytest.raises(listing.GitFailed, match="git for-each-ref: fatal: not a git repository"):
        listing.list_branches(tmp_path, environment=environment, prefix="", timeout_seconds=60)


def test_without_git_a_listing_says_that_it_cannot_run(tmp_path: Path) -> None:
    with (
        mock.patch.object(subprocess, "run", side_effect=FileNotFoundError(2, "No such file or directory", "git")),
        pytest.raises(listing.GitFailed, match="cannot run git: "),
    ):
        listing.list_branches(tmp_path, environment={}, prefix="", timeout_seconds=60)


def test_a_git_that_hangs_is_given_up(tmp_path: Path) -> None:
    with (
        mock.patch.object(subprocess, "run", side_effect=subprocess.TimeoutExpired("git", 5)),
        pytest.raises(listing.GitFailed, match="git for-each-ref: timed out"),
    ):
        listing.list_branches(tmp_path, environment={}, prefix="", timeout_seconds=5)


@pytest.mark.parametrize("durably", [True, False])
def test_a_write_that_fails_leaves_the_old_content_and_nothing_else(tmp_path: Path, *, durably: bool) -> None:
    path = tmp_path / "push"
    files.write(path, b"old", owner_of=tmp_path, durably=durably)

    with (
        mock.patch.object(Path, "replace", side_effect=OSError(28, "No space left")),
        pytest.raises(OSError, match="No space left"),
    ):
        files.write(path, b"new", owner_of=tmp_path, durably=durably)

    assert [(one, one.read_bytes()) for one in tmp_path.iterdir()] == [(path, b"old")]


class Account:
    """A process of root in a folder that belongs to user 1000; what it asks of the system is noted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, uid: int = 0, owner: int = 1000, **more: object) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.folder: Any = SimpleNamespace(stat=lambda: SimpleNamespace(st_uid=owner, st_gid=owner + 1))
        names = ("setgroups", "setgid", "setuid", "setegid", "seteuid", "fchown")
        system = SimpleNamespace(
            geteuid=lambda: uid,
            getegid=lambda: 7,
            getgroups=lambda: [7, 8],
            **{name: partial(self._note, name) for name in names},
            **more,
        )
        for module in (privileges, files):
            monkeypatch.setattr(module, "os", system)

    def _note(self, *call: object) -> None:
        self.calls.append(call)


def test_root_becomes_the_owner_of_the_repository_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(monkeypatch)
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: SimpleNamespace(pw_dir=f"/home/{uid}"))

    environment = privileges.drop_privileges(
        account.folder, {"HOME": "/root", "XDG_CONFIG_HOME": "/root/.config", "LANG": "C"}
    )

    # The user last: without root's privileges, the groups could not be changed any more.
    assert account.calls == [("setgroups", []), ("setgid", 1001), ("setuid", 1000)]
    assert environment == {"HOME": "/home/1000", "LANG": "C"}


def test_root_has_the_owners_privileges_for_a_while_and_then_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    account = Account(monkeypatch)

    with pytest.raises(ZeroDivisionError), privileges.dropped_privileges(account.folder):
        _ = len(account.calls) // 0

    assert account.calls[:3] == [("setgroups", []), ("setegid", 1001), ("seteuid", 1000)]
    assert account.calls[3:] == [("seteuid", 0), ("setegid", 7), ("setgroups", [7, 8])]


@pytest.mark.parametrize(("uid", "owner"), [(1000, 1000), (1000, 0), (0, 0)])
def test_others_and_root_in_its_own_repository_change_nothing(
    monkeypatch: pytest.MonkeyPatch, uid: int, owner: int
) -> None:
    account = Account(monkeypatch, uid=uid, owner=owner)
    environment = {"HOME": "/root"}

    with privileges.dropped_privileges(account.folder):
        assert privileges.drop_privileges(account.folder, environment) is environment

    assert account.calls == []


def test_a_user_without_an_entry_has_a_home_that_does_not_exist(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", mock.Mock(side_effect=KeyError))

    assert privileges.environment_of(4242, {"HOME": "/root"}) == {"HOME": "/nonexistent"}


STATS = {
    "a file that root has just made": (0, stat.S_IFREG, 1, True),
    "a folder, which has several links": (0, stat.S_IFDIR, 3, True),
    "a file with another name elsewhere": (0, stat.S_IFREG, 2, False),
    "a file of somebody else": (4, stat.S_IFREG, 1, False),
}


@pytest.mark.parametrize(("uid", "kind", "links", "is_given"), STATS.values(), ids=STATS)
def test_root_gives_away_only_what_it_made(
    monkeypatch: pytest.MonkeyPatch, uid: int, kind: int, links: int, *, is_given: bool
) -> None:
    given = SimpleNamespace(st_uid=uid, st_mode=kind, st_nlink=links)
    account = Account(monkeypatch, fstat=lambda _: given)

    files.chown_like(account.folder, 5)

    assert account.calls == ([("fchown", 5, 1000, 1001)] if is_given else [])


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    subprocess.run(["git", "init", "--quiet", "--bare", str(tmp_path)], check=True, env={"PATH": os.environ["PATH"]})
    return tmp_path


def received(repository: Path, lines: bytes, **environment: str) -> list[str]:
    """Run the hook in this process, and return what it reports."""
    said: list[str] = []
    hook.receive(
        io.BytesIO(lines), environment={"GIT_DIR": str(repository), **environment}, foreground=False, report=said.append
    )
    return said


LINE = OLD + b" " + NEW + b" refs/heads/main\n"


def test_nothing_to_tell_is_no_push(repository: Path) -> None:
    assert received(repository, b"") == []
    assert Spool(repository).pushes() == []


FAILURES = {
    "a full spool": (SpoolFull("the spool is full"), "no events for this push: the spool is full"),
    "a bug": (ZeroDivisionError("x"), "events for this push may be missing: ZeroDivisionError: x"),
}


@pytest.mark.parametrize(("error", "said"), FAILURES.values(), ids=FAILURES)
def test_a_push_that_cannot_be_spooled_is_reported_and_does_not_fail(
    repository: Path, error: Exception, said: str
) -> None:
    with mock.patch.object(Spool, "append", side_effect=error):
        assert received(repository, LINE) == [said]


def test_a_sender_that_cannot_start_leaves_the_push_in_the_spool(repository: Path) -> None:
    with mock.patch.object(launcher, "start_sender", side_effect=OSError(11, "Resource temporarily unavailable")):
        [said] = received(repository, LINE)

    [push] = Spool(repository).pushes()
    assert said == (
        f"this push is queued in {push.parent} and not sent yet: "
        "BlockingIOError: [Errno 11] Resource temporarily unavailable"
    )


def test_without_settings_the_push_waits_and_the_reason_is_kept(repository: Path) -> None:
    [said] = received(repository, LINE, PATH=os.environ["PATH"])

    spool = Spool(repository)
    assert said.startswith(f"this push is queued in {spool.pushes()[0].parent} and not sent yet: ")
    assert (spool.directory / "last-problem").read_text()


def test_a_bug_of_the_detached_sender_is_kept_without_the_key(repository: Path) -> None:
    with mock.patch.object(launcher, "start_sender"):
        received(repository, LINE)
    with mock.patch("hookhub.git.uploader.drain", side_effect=ValueError("bad header hh_1_secret")):
        result = launcher._drain(repository, {}, api_key="hh_1_secret")

    assert result.startswith("ValueError: bad header ")
    assert "hh_1_secret" not in result
    assert (Spool(repository).directory / "last-problem").read_text().strip().endswith(result)


def test_a_flush_of_what_is_no_repository_fails_and_says_so(tmp_path: Path) -> None:
    said: list[str] = []

    assert hook.flush(str(tmp_path), environment={}, report=said.append) == 1
    assert len(said) == 1


class Gone(io.StringIO):
    """The stream of a pusher who has disconnected."""

    def write(self, _: str) -> int:
        raise BrokenPipeError


def test_a_pusher_who_has_gone_fails_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Gone())

    hook._print("a sentence")


def test_a_sentence_is_one_line_on_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    hook._print("two\n  lines")

    assert capsys.readouterr().err == "hookhub: two lines\n"


def test_the_login_of_an_unknown_user_is_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pwd, "getpwuid", mock.Mock(side_effect=KeyError))

    assert hook._login() == "unknown"


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, object]]:
    """Return the list of what ``main`` calls."""
    calls: list[tuple[str, object]] = []

    def flush(repository: str, *, retry_rejected: bool = False, **_: object) -> int:
        calls.append((repository, retry_rejected))
        return 3

    def receive(_: object, *, foreground: bool, **__: object) -> None:
        calls.append(("receive", foreground))

    monkeypatch.setattr(hook, "flush", flush)
    monkeypatch.setattr(hook, "receive", receive)
    monkeypatch.delenv("HOOKHUB_FOREGROUND", raising=False)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO()))
    return calls


CALLS = {
    "as git's hook": ([], "", 0, ("receive", False)),
    "in the foreground": (["--foreground"], "", 0, ("receive", True)),
    "in the foreground by the environment": ([], "1", 0, ("receive", True)),
    "not in the foreground": ([], "0", 0, ("receive", False)),
    "to flush this repository": (["--flush"], "", 3, (".", False)),
    "to flush another": (["--flush", "/srv/a.git"], "", 3, ("/srv/a.git", False)),
    "to retry": (["--retry-rejected", "/srv/a.git"], "", 3, ("/srv/a.git", True)),
}


@pytest.mark.parametrize(("arguments", "foreground", "status", "call"), CALLS.values(), ids=CALLS)
def test_the_hook_does_what_it_is_started_for(
    called: list[tuple[str, object]],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    foreground: str,
    status: int,
    call: tuple[str, object],
) -> None:
    monkeypatch.setenv("HOOKHUB_FOREGROUND", foreground)

    assert hook.main(arguments) == status
    assert called == [call]


def test_what_is_spooled_is_the_push(repository: Path) -> None:
    with mock.patch.object(launcher, "start_sender"):
        received(repository, LINE, HOOKHUB_PUSHER="ada", HOOKHUB_PUSHER_ID="7")

    [path] = Spool(repository).pushes()
    push = json.loads(path.read_text())
    assert (push["pusher_name"], push["pusher_id"]) == ("ada", "7")
    assert push["changes"] == [[OLD.decode(), NEW.decode(), "refs/heads/main"]]
