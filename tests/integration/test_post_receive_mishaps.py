"""The git hook under failures: of HookHub, the network, the key, git's environment, or a commit."""

import fcntl
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from django.core.management import CommandError, call_command

from hookhub.git import environment, locations, sending
from hookhub.git.branches import before, parse
from hookhub.git.commits import moment
from hookhub.git.events import build_events
from hookhub.git.hook import read_changes
from hookhub.git.install import InstallError, install
from hookhub.git.payloads import Change, Push
from hookhub.git.repository import Repository
from hookhub.git.settings import NotConfigured, checked_key, checked_url, read_settings
from hookhub.git.spool import Progress
from tests.fake_hookhub import Answer, Asked, FakeHookHub, fake_hookhub, refusal
from tests.integration.test_post_receive import ENVIRONMENT, ZERO, Host, git, make_host, told, wait_for_problem

KEY = "hh_1_secret"
WAITING = {"HOOKHUB_FOREGROUND": "1"}


@pytest.fixture
def fake() -> Iterator[FakeHookHub]:
    with fake_hookhub() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path, fake: FakeHookHub) -> Host:
    return make_host(tmp_path, url=fake.url)


@contextmanager
def no_sender(host: Host) -> Iterator[None]:
    """Hold the lock that a sender needs, so that pushes stay in the spool as the hook wrote them.

    Pushes must wait for their sender's report (``WAITING``), so that no sender starts when the lock is released.
    """
    host.spool.directory.mkdir(exist_ok=True)
    settings = json.loads((host.bare / "hookhub.json").read_text())
    host.configure(budget_seconds=60)
    with (host.spool.directory / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    (host.bare / "hookhub.json").write_text(json.dumps(settings))


def run_hook(host: Host, *arguments: str, stdin: bytes = b"", **more: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [host.bare / "hooks" / "post-receive", *arguments],
        input=stdin,
        cwd=host.bare,
        capture_output=True,
        env={**ENVIRONMENT, **more},
        timeout=60,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


# Rejections by HookHub or by a proxy ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        refusal(422, "invalid", "Wrong.", ("events[0].repository", "acme has no such repository")),
        refusal(422, "invalid", "Wrong.", ("events[0].organization", "is another")),
        refusal(422, "invalid", "Wrong.", ("organization", "is required with an operator's key")),
        refusal(404, "not_found", "There is no such organization."),
        refusal(403, "forbidden", "Requires the scope publish."),
        refusal(400, "malformed", "This server does not answer to that host."),
        refusal(415, "unsupported_media_type", "No."),
        refusal(409, "conflict", "Busy."),
        Answer(400, b"<h1>Bad Request (400)</h1>"),
        Answer(403, b"<h1>CSRF verification failed</h1>"),
        Answer(409, b"conflict"),
        Answer(413, b"<h1>413 Request Entity Too Large</h1>"),
        Answer(415, b""),
        Answer(422, {"message": "Validation Failed", "errors": [{"field": "events[0].type"}]}),
        Answer(422, {"error": "events[0].type"}),
        Answer(202, b"<h1>Please log in</h1>"),
        Answer(204, b""),
    ],
    ids=lambda answer: f"{answer.status} {str(answer.body)[:60]}",
)
def test_what_is_cured_elsewhere_costs_no_event(host: Host, fake: FakeHookHub, answer: Answer) -> None:
    fake.otherwise = lambda _: answer
    host.commit(a="1")

    host.push("main")
    problem = wait_for_problem(host)
    host.wait_until(lambda spool: bool(spool.batches()))
    fake.otherwise = None
    flushed = host.flush()

    assert str(answer.status) in problem
    assert not host.spool.rejected.exists()
    assert flushed.stderr == "hookhub: 2 events sent\n"
    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert not (host.spool.directory / "last-problem").exists()


def test_an_unknown_repository_is_said_in_words_with_what_to_do(host: Host, fake: FakeHookHub) -> None:
    fake.otherwise = lambda _: refusal(
        422, "invalid", "Invalid fields: events[0].repository.", ("events[0].repository", "acme has no such repository")
    )
    host.commit(a="1")

    host.push("main")

    assert "acme has no such repository. Create the repository, then push again or run" in wait_for_problem(host)


@pytest.mark.parametrize("status", [pytest.param(413, id="too large"), pytest.param(408, id="too slow")])
def test_what_is_too_much_at_once_is_sent_in_parts(host: Host, fake: FakeHookHub, status: int) -> None:
    def proxied(asked: Asked) -> Answer:
        return Answer(status, b"<html>") if len(asked.events) > 1 else fake.accept(asked)

    fake.otherwise = proxied
    host.commit(a="1")

    host.push("main", "main:one", "main:two")

    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"] * 3
    assert not host.spool.rejected.exists()


@pytest.mark.parametrize(("size", "is_slow"), [(100_000, True), (1_000, False)])
def test_a_connection_that_is_cut_while_much_is_sent_may_be_too_slow(
    fake: FakeHookHub, size: int, is_slow: bool
) -> None:
    fake.otherwise = lambda _: Answer(hang_up=True)

    answer = sending.send(b'"' + b"x" * size + b'"\n', url=fake.url, api_key=KEY, timeout_seconds=30)

    assert isinstance(answer, sending.Unavailable)
    assert answer.may_be_too_slow is is_slow


def test_what_was_refused_for_good_comes_back_when_it_is_asked_for(host: Host, fake: FakeHookHub) -> None:
    fake.otherwise = lambda _: refusal(422, "invalid", "Wrong.", ("events[0].data.ref", "must be an integer"))
    host.commit(a="1")
    host.push("main")
    host.wait_until(lambda spool: len(list(spool.rejected.glob("*.reason"))) == 2)
    problem = wait_for_problem(host)
    fake.otherwise = None

    again = run_hook(host, "--retry-rejected", str(host.bare))

    assert "2 files rejected permanently" in problem
    assert "--retry-rejected" in problem
    assert (again.returncode, again.stderr) == (0, "hookhub: 2 files requeued\nhookhub: 2 events sent\n")
    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert list(host.spool.rejected.iterdir()) == []


def test_a_damaged_file_holds_up_nothing(host: Host, fake: FakeHookHub) -> None:
    host.spool.directory.mkdir()
    (host.spool.directory / "0-broken.000000.events").write_bytes(b'{"type": "pu\n')
    host.commit(a="1")

    host.push("main")

    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert "not every line is a JSON object" in (host.spool.rejected / "0-broken.000000.events.reason").read_text()


@pytest.mark.parametrize(
    "damage", [b"", b"{", b"[]", b"{}x", b'{"change": "1"}', b"[" * 100_000, b"\0" * 60], ids=range(7)
)
def test_a_damaged_record_of_progress_costs_no_event(host: Host, fake: FakeHookHub, damage: bytes) -> None:
    tip = host.commit(a="1")
    git("fetch", "--quiet", str(host.clone), "main:refs/keep/main", cwd=host.bare)
    with no_sender(host):
        run_hook(host, stdin=f"{ZERO} {tip} refs/heads/main\n".encode(), GIT_DIR=".", **WAITING)
    (path,) = host.spool.pushes()
    path.with_suffix(".progress").write_bytes(damage)

    host.flush()

    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert not host.spool.rejected.exists()


def test_on_a_full_disk_what_is_rejected_or_refused_for_now_hides_no_problem_and_holds_up_nothing(
    host: Host, fake: FakeHookHub
) -> None:
    host.spool.directory.mkdir()
    (host.spool.directory / "0-broken.000000.events").write_bytes(b'{"type": "pu\n')
    (host.spool.directory / "1-good.000000.events").write_bytes(b'{"type":"push","data":1,"id":"1"}\n')
    hook = host.bare / "hooks" / "post-receive"
    # No file may have a byte.
    command = ["sh", "-c", 'ulimit -f 0; exec "$0" --flush "$1"', str(hook), str(host.bare)]
    fake.otherwise = lambda _: refusal(503, "unavailable", "Too many requests are waiting.")

    refused = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    fake.otherwise = None
    sent = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)

    assert "1 file rejected" in refused.stderr
    assert "1 file queued: HookHub answered 503: Too many requests are waiting." in refused.stderr
    assert (sent.returncode, sent.stderr) == (0, "hookhub: 1 event sent\n")
    assert [path.name for path in host.spool.rejected.iterdir()] == ["0-broken.000000.events"]


def test_on_a_full_disk_a_request_that_must_be_split_waits_and_says_why(host: Host, fake: FakeHookHub) -> None:
    host.spool.directory.mkdir()
    events = [f'{{"type":"push","data":{number},"id":"{number}"}}\n' for number in range(4)]
    (host.spool.directory / "0-large.000000.events").write_text("".join(events))
    hook = host.bare / "hooks" / "post-receive"
    flushing = [str(hook), "--flush", str(host.bare)]
    # No file may have a byte.
    full = ["sh", "-c", 'ulimit -f 0; exec "$0" "$@"', *flushing]
    too_large = refusal(413, "too_large", "Too large.")
    fake.otherwise = lambda asked: too_large if len(asked.events) > 1 else fake.accept(asked)

    waiting = subprocess.run(full, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    left = [path.name for path in host.spool.batches()]
    sent = subprocess.run(flushing, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)

    problem = "HookHub answered 413: Too large.; the request cannot be split: File too large"
    assert (waiting.returncode, waiting.stderr) == (1, f"hookhub: 0 events sent, 1 file queued: {problem}\n")
    assert left == ["0-large.000000.events"]
    assert (sent.returncode, sent.stderr) == (0, "hookhub: 4 events sent\n")
    assert list(fake.accepted) == ["0", "1", "2", "3"]


# Settings ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [None, b"", b"{", b"[]", b'{"url": 1}', b'{"url": "http://[::1", "api_key": "hh_1_secret"}', b"\xff\xfe{"],
    ids=["missing", "empty", "cut off", "a list", "a wrong type", "half an address", "half of UTF-16"],
)
def test_a_push_is_kept_whatever_is_wrong_with_the_settings(
    host: Host, fake: FakeHookHub, content: bytes | None
) -> None:
    path = host.bare / "hookhub.json"
    right = path.read_bytes()
    path.unlink() if content is None else path.write_bytes(content)
    host.commit(a="1")

    said = host.push("main")
    kept, problem = len(host.spool.pushes()), wait_for_problem(host)
    path.write_bytes(right)
    flushed = host.flush()

    assert (kept, len(said.splitlines())) == (1, 1)
    assert "and not sent yet" in said
    assert "hookhub.json" in problem or "url must look like" in problem
    assert flushed.stderr == "hookhub: 2 events sent\n"
    assert len(told(fake, host)) == 2


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_may_begin_with_a_byte_order_mark(host: Host, fake: FakeHookHub, encoding: str) -> None:
    path = host.bare / "hookhub.json"
    path.write_bytes(path.read_text().encode(encoding))
    host.commit(a="1")

    assert host.push("main") == ""

    assert len(told(fake, host)) == 2


@pytest.mark.parametrize("module", ["ssl", "http", "tempfile", "subprocess", "argparse", "zlib", "pwd", "uuid"])
def test_a_push_is_kept_where_python_lacks_a_module(host: Host, tmp_path: Path, module: str) -> None:
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / f"{module}.py").write_text("raise ImportError('no such module here')\n")
    line = f"{ZERO} {host.commit(a='1')} refs/heads/main\n".encode()

    with no_sender(host):
        done = run_hook(host, stdin=line, PYTHONPATH=str(tmp_path / "lacking"), GIT_DIR=".", **WAITING)

        assert done.returncode == 0
        assert len(host.spool.pushes()) == 1


def test_a_push_is_kept_where_git_cannot_be_started(host: Host, fake: FakeHookHub) -> None:
    tip = host.commit(a="1")
    git(
        "push",
        "--quiet",
        "--receive-pack",
        "git -c core.hooksPath=/nowhere receive-pack",
        "origin",
        "main",
        cwd=host.clone,
    )
    host.configure(patience_seconds=0)

    run_hook(host, stdin=f"{ZERO} {tip} refs/heads/main\n".encode(), PATH="/nowhere", GIT_DIR=".")
    assert "cannot run git" in wait_for_problem(host)
    host.flush()

    assert [event["size"] for event in told(fake, host) if event["type"] == "push"] == [1]


@pytest.mark.parametrize("around", ["{}\r\n", "{}\n", " {}\t", "\ufeff{}"])
def test_white_space_around_a_key_is_not_part_of_it(host: Host, fake: FakeHookHub, around: str) -> None:
    host.configure(api_key=around.format(KEY))
    host.commit(a="1")

    host.push("main")

    assert len(told(fake, host)) == 2
    assert fake.asked[0].headers["Authorization"] == f"Bearer {KEY}"


@pytest.mark.parametrize(
    "key", ["hh_1_sec\nret", "hh_1_sec ret", "hh_1_sécret", "hh_1_sec\0ret", "hh_1_\ud800ret", " "]
)
def test_a_key_that_cannot_be_one_is_refused_and_never_shown(host: Host, tmp_path: Path, key: str) -> None:
    host.configure(api_key=key)
    host.commit(a="1")

    said = host.push("main")
    problem = wait_for_problem(host)
    with pytest.raises(NotConfigured, match="api_key is empty, too long or contains invalid characters") as refused:
        install(host.bare, url="https://hooks.example", api_key=key)

    for text in (said, problem, str(refused.value), repr(refused.value)):
        assert "api_key is empty, too long or contains invalid characters" in text
        assert "hh_1" not in text
    assert checked_key(" a ") == "a"


def test_a_server_that_repeats_the_key_does_not_have_it_written_down(host: Host, fake: FakeHookHub) -> None:
    fake.otherwise = lambda asked: Answer(403, asked.headers["Authorization"].encode())
    host.commit(a="1")

    host.push("main")
    problem = wait_for_problem(host)

    assert "Bearer [API key]" in problem
    assert KEY not in problem
    assert KEY not in host.flush().stderr


@pytest.mark.parametrize("also_key", [False, True])
def test_an_address_in_the_pushers_environment_does_not_get_the_files_key(
    host: Host, fake: FakeHookHub, *, also_key: bool
) -> None:
    host.commit(a="1")
    with fake_hookhub() as other:
        theirs = {"HOOKHUB_URL": other.url, **({"HOOKHUB_API_KEY": "hh_2_theirs"} if also_key else {})}

        host.push("main", **theirs)

        assert len(told(fake, host)) == 2
        assert other.asked == []
    assert fake.asked[0].headers["Authorization"] == f"Bearer {KEY}"


def test_the_address_and_the_key_come_from_one_source(tmp_path: Path) -> None:
    file = tmp_path / "hookhub.json"
    file.write_text('{"api_key": "hh_1_secret"}')
    with pytest.raises(NotConfigured, match=r"set url in .*must come from the same source"):
        read_settings(tmp_path, environment={"HOOKHUB_URL": "http://evil.example"})
    file.unlink()

    both = read_settings(tmp_path, environment={"HOOKHUB_URL": "http://a.example", "HOOKHUB_API_KEY": "k"})

    assert (both.url, both.api_key) == ("http://a.example", "k")


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1", "http://a:port", "http://a:99999", "http://a:0", "ftp://a", "hooks.example.org", "http://", "",
        "http://a b", "http://a/\n", "http://\u00fc.example", "http://user:password@a", "http://u:pass/word@a", "http://a?x=1",
        "http://a#b", "http://a\x7f", "//a",
    ],
)  # fmt: skip
def test_an_address_that_is_none_gets_a_clear_message_without_passwords(url: str) -> None:
    if url.strip() != url:
        assert checked_url(url) == "http://a"
        return
    with pytest.raises(NotConfigured, match=r"url must look like https://hooks.example.org") as refused:
        checked_url(url)
    assert "pass" not in str(refused.value)


def test_what_one_push_names_holds_for_it_and_for_no_other_that_waits(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    with no_sender(host):
        host.push("main:one", **WAITING)
        host.push("main:two", HOOKHUB_REPOSITORY="acme/other", **WAITING)

    host.push("main:three")

    names = [event["repository"]["full_name"] for event in told(fake, host) if event["type"] == "branch.created"]
    assert names == ["acme/widgets", "acme/other", "acme/widgets"]


# The content of a push -----------------------------------------------------------------------------------------------


def distinct(fake: FakeHookHub, host: Host) -> list[tuple[int, list[bool]]]:
    pushes = [event for event in told(fake, host) if event["type"] == "push"]
    return [(push["distinct_size"], [commit["distinct"] for commit in push["commits"]]) for push in pushes]


def test_a_symbolic_ref_hides_no_commit(host: Host, fake: FakeHookHub) -> None:
    git("symbolic-ref", "refs/heads/master", "refs/heads/main", cwd=host.bare)
    host.commit(a="1")
    host.push("main")
    first = distinct(fake, host)
    host.commit(a="2")

    host.push("main")

    assert (first, distinct(fake, host)) == ([(1, [True])], [(1, [True])])


def test_a_branch_that_moves_after_the_push_hides_no_commit(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    host.push("main", "main:other")
    told(fake, host)
    tip = host.commit(a="2")
    host.commit(a="3")
    with no_sender(host):
        host.push("main", **WAITING)
        for name in ("other", "brand-new", "behind"):
            git("update-ref", f"refs/heads/{name}", tip, cwd=host.bare)

    host.flush()

    assert distinct(fake, host) == [(2, [True, True])]


def test_a_hook_that_moves_another_branch_along_hides_no_commit(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    host.push("main")
    told(fake, host)
    hook = host.bare / "hooks" / "post-receive"
    ours = hook.rename(hook.with_name("hookhub"))
    hook.write_text(f'#!/bin/sh\nlines=$(cat)\ngit update-ref refs/heads/mirror main\necho "$lines" | {ours}\n')
    hook.chmod(0o755)
    host.commit(a="2")

    host.push("main")

    assert distinct(fake, host) == [(1, [True])]


def test_commits_that_a_branch_had_before_are_not_distinct_even_if_no_push_brought_them(
    host: Host, fake: FakeHookHub
) -> None:
    host.commit(a="1")
    host.push("main")
    told(fake, host)
    mirrored = host.commit(a="2")
    git(
        "push",
        "--quiet",
        "--receive-pack",
        "git -c core.hooksPath=/nowhere receive-pack",
        "origin",
        "main",
        cwd=host.clone,
    )
    own = host.commit(a="3")

    host.push("main:topic")

    push = told(fake, host)[1]
    assert (mirrored != own, push["size"], [commit["id"] for commit in push["commits"]]) == (True, 1, [own])


def test_pushes_that_look_at_the_same_time_tell_every_commit_once(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="sigmagit")
    host.commit(a="1")
    host.push("main")
    told(fake, host)
    host.commit(a="2")
    with no_sender(host):
        host.push("main", **WAITING)
        host.push("main:topic", **WAITING)

    host.flush()

    assert [event["type"] for event in told(fake, host)] == ["push", "commit", "push"]


A, B, C = "a" * 40, "b" * 40, "c" * 40


def test_a_follower_goes_back_to_where_it_was_seen_and_others_stay() -> None:
    push = Push("n", "2026-03-04T05:06:07Z", "ada", None, (Change(A, B, "refs/heads/main"),))
    seen = {"refs/heads/main": B, "refs/heads/new": B, "refs/heads/old": B, "refs/heads/kept": B, "refs/heads/far": C}
    announced = {"refs/heads/main": A, "refs/heads/old": C, "refs/heads/kept": B}

    assert before(push, seen=seen, announced=announced) == {
        "refs/heads/main": A, "refs/heads/old": C, "refs/heads/kept": B, "refs/heads/far": C,
    }  # fmt: skip
    assert before(push, seen=seen, announced=announced, contains=lambda *_: True) == {
        "refs/heads/main": A, "refs/heads/old": C, "refs/heads/kept": B,
    }  # fmt: skip
    assert before(push, seen=seen) == {**seen, "refs/heads/main": A}


def test_symbolic_refs_are_left_out_of_a_listing() -> None:
    listing = f"{A} p/refs/heads/main\n{A} p/refs/heads/head p/refs/heads/main\n\n".encode()

    assert parse(listing, prefix="p/") == {"refs/heads/main": A}


@pytest.mark.parametrize("is_annotated", [True, False])
def test_a_moved_tag_is_forced_and_a_deletion_is_not(host: Host, fake: FakeHookHub, *, is_annotated: bool) -> None:
    how = ["-a", "-m", "x"] if is_annotated else []
    host.commit(a="1")
    git("tag", *how, "v1", cwd=host.clone)
    host.push("main", "main:topic", "v1")
    told(fake, host)
    host.commit(a="2")
    git("tag", *how, "--force", "v1", cwd=host.clone)

    host.push("--force", "v1")
    host.push("--delete", "v1", "topic")

    pushes = [event for event in told(fake, host) if event["type"] == "push"]
    assert [(push["ref"], push["forced"], push["deleted"]) for push in pushes] == [
        ("refs/tags/v1", True, False),
        ("refs/heads/topic", False, True),
        ("refs/tags/v1", False, True),
    ]


def test_names_that_are_not_utf8_stay_apart(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    git("push", "--quiet", "origin", b"main:refs/heads/caf\xe9", b"main:refs/heads/caf\xe8", cwd=host.clone)

    events = told(fake, host)

    assert [(event["type"], event["ref"]) for event in events] == [
        ("branch.created", "caf\ufffd"), ("push", "refs/heads/caf\ufffd"),
        ("branch.created", "caf\ufffd"), ("push", "refs/heads/caf\ufffd"),
    ]  # fmt: skip
    assert len({event["id"] for asked in fake.asked for event in asked.events}) == 4
    assert [event["size"] for event in events if event["type"] == "push"] == [1, 0]
    (change,) = read_changes(iter([f"{A} {B} ".encode() + b"refs/heads/\xe9\n"]))  # type: ignore[arg-type]
    assert (change.ref, change.shown, change.short) == ("refs/heads/\udce9", "refs/heads/\ufffd", "\ufffd")


# Git's environment ---------------------------------------------------------------------------------------------------


def test_a_push_from_a_shallow_clone_is_told_with_its_commits(host: Host, fake: FakeHookHub, tmp_path: Path) -> None:
    git("config", "receive.shallowUpdate", "true", cwd=host.bare)
    upstream = tmp_path / "upstream"
    git("init", "--quiet", "--initial-branch=main", str(upstream), cwd=tmp_path)
    for number in range(3):
        git("commit", "--quiet", "--allow-empty", "-m", str(number), cwd=upstream)
    git("clone", "--quiet", "--depth", "1", f"file://{upstream}", "shallow", cwd=tmp_path)
    git("push", "--quiet", str(host.bare), "main", cwd=tmp_path / "shallow")

    _, push = told(fake, host)

    assert (push["size"], push["head_commit"]["message"], len(push["commits"])) == (1, "2", 1)


def test_a_push_to_a_linked_worktree_is_in_the_repositorys_own_spool(tmp_path: Path, fake: FakeHookHub) -> None:
    host = make_host(tmp_path, url=fake.url)
    main, linked = tmp_path / "checkout", tmp_path / "linked"
    git("init", "--quiet", "--initial-branch=trunk", str(main), cwd=tmp_path)
    git("commit", "--quiet", "--allow-empty", "-m", "first", cwd=main)
    git("worktree", "add", "--quiet", str(linked), "-b", "side", cwd=main)
    installed = install(linked, url=fake.url, api_key=KEY, interpreter=sys.executable)
    git("remote", "set-url", "origin", str(linked), cwd=host.clone)
    host.commit(a="1")

    host.push("main:topic")

    assert installed.hook == main / ".git" / "hooks" / "post-receive"
    assert [event["type"] for event in told(fake, Host(main / ".git", host.clone))] == ["branch.created", "push"]
    assert {locations.find(each) for each in (main, linked, main / ".git", main / ".git" / "worktrees" / "linked")} == {
        main / ".git"
    }


def test_a_namespace_has_branches_of_its_own(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    host.push("main", GIT_NAMESPACE="forks/ada")
    first = told(fake, host)
    host.commit(a="2")
    host.push("main", GIT_NAMESPACE="forks/ada")
    second = told(fake, host)
    host.push("main")

    third = told(fake, host)

    assert [event["type"] for event in first] == ["branch.created", "push"]
    assert (first[1]["size"], second[0]["size"], second[0]["distinct_size"]) == (1, 1, 1)
    # The repository itself has not seen any of these commits.
    assert (third[0]["type"], third[1]["size"], third[1]["distinct_size"]) == ("branch.created", 2, 2)
    assert environment.ref_prefix({"GIT_NAMESPACE": "a/b"}) == "refs/namespaces/a/refs/namespaces/b/"


def test_an_object_directory_that_the_server_names_is_known_to_a_later_flush(
    host: Host, fake: FakeHookHub, tmp_path: Path
) -> None:
    tip = host.commit(a="1")
    elsewhere = (host.clone / ".git" / "objects").rename(tmp_path / "pool")
    line = f"{ZERO} {tip} refs/heads/main\n".encode()
    with no_sender(host):
        run_hook(host, stdin=line, GIT_DIR=".", GIT_ALTERNATE_OBJECT_DIRECTORIES=str(elsewhere), **WAITING)

    host.flush()

    assert [event["size"] for event in told(fake, host) if event["type"] == "push"] == [1]


GITS_OWN = {
    "GIT_DIR": ".", "GIT_SHALLOW_FILE": "/gone", "GIT_QUARANTINE_PATH": "/gone", "GIT_PUSH_OPTION_COUNT": "1",
    "GIT_PUSH_OPTION_0": "x", "GIT_PROTOCOL": "version=2", "GIT_HTTP_EXPORT_ALL": "", "GIT_PROJECT_ROOT": "/srv",
    "GIT_SSH_COMMAND": "false", "GIT_PREFIX": "a/", "GIT_INDEX_FILE": "/gone", "GIT_WORK_TREE": "/gone",
    "GIT_COMMON_DIR": "/gone", "GIT_CEILING_DIRECTORIES": "/", "GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "a.b",
    "GIT_CONFIG_VALUE_0": "c", "GIT_CONFIG_PARAMETERS": "'a.b=c'", "GIT_DEFAULT_HASH": "sha256", "GIT_TRACE": "1",
    "GIT_TRACE_PACKET": "2", "GIT_DIFF_OPTS": "-u0", "GIT_LITERAL_PATHSPECS": "1", "GIT_OBJECT_DIRECTORY": "/gone",
    "GIT_ALTERNATE_OBJECT_DIRECTORIES": "/gone:/gone/too", "GIT_NAMESPACE": "ns", "GIT_SOMETHING_OF_LATER": "1",
}  # fmt: skip


def test_what_holds_for_the_running_command_does_not_reach_the_sender(tmp_path: Path) -> None:
    host = {"PATH": "/bin", "GIT_EXEC_PATH": "/lib/git", "GIT_CONFIG_GLOBAL": "/dev/null", "HOME": "/root"}

    own = environment.of_the_repository({**host, **GITS_OWN}, git_dir=tmp_path)
    given = environment.for_git({**host, **GITS_OWN}, git_dir=tmp_path, own=own)

    assert own == {"GIT_NAMESPACE": "ns"}
    assert given == {
        **host, "GIT_DIR": str(tmp_path), "GIT_NO_REPLACE_OBJECTS": "1", "GIT_NO_LAZY_FETCH": "1", "LC_ALL": "C",
    }  # fmt: skip


def test_of_object_directories_the_quarantine_is_left_out_and_the_rest_kept(tmp_path: Path) -> None:
    quarantine, incoming = tmp_path / "q", tmp_path / "objects" / "incoming-x1"
    pool, odd, own = tmp_path / "pool", tmp_path / "a:b", tmp_path / "objects"
    for directory in (quarantine, incoming, pool, odd):
        directory.mkdir(parents=True)
    listed = f'{own}:{quarantine}:{incoming}:"{odd}":{pool}'

    kept = environment.of_the_repository(
        {
            "GIT_QUARANTINE_PATH": str(quarantine),
            "GIT_OBJECT_DIRECTORY": str(quarantine),
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": listed,
        },
        git_dir=tmp_path,
    )

    assert kept == {"GIT_ALTERNATE_OBJECT_DIRECTORIES": f'"{odd}":{pool}'}


def test_a_whole_push_is_told_right_with_all_of_gits_variables_set(host: Host, fake: FakeHookHub) -> None:
    tip = host.commit(a="1")
    git(
        "push",
        "--quiet",
        "--receive-pack",
        "git -c core.hooksPath=/nowhere receive-pack",
        "origin",
        "main",
        cwd=host.clone,
    )
    noisy = {name: value for name, value in GITS_OWN.items() if name != "GIT_NAMESPACE"}

    run_hook(host, stdin=f"{ZERO} {tip} refs/heads/main\n".encode(), **noisy)

    assert [(event["size"], event["default"]) for event in _sizes(told(fake, host))] == [(1, "main")]


def _sizes(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {"size": event["size"], "default": event["repository"]["default_branch"]}
        for event in events
        if event["type"] == "push"
    ]


# Commits -------------------------------------------------------------------------------------------------------------


def test_a_commit_without_a_date_or_people_is_told_with_a_moment(host: Host, fake: FakeHookHub) -> None:
    tree = git("write-tree", cwd=host.clone)
    raw = f"tree {tree}\n\nno author, no committer\n".encode()
    bare = git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", cwd=host.clone, stdin=raw)
    odd = f"tree {tree}\nauthor A <a@b> 99999999999999 -9999\ncommitter A <a@b> 99999999999999 -9999\n\nfar\n".encode()
    far = git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", cwd=host.clone, stdin=odd)
    for name, oid in (("bare", bare), ("far", far)):
        git("push", "--quiet", "origin", f"{oid}:refs/heads/{name}", cwd=host.clone)

    heads = [event["head_commit"] for event in told(fake, host) if event["type"] == "push"]

    assert heads[0]["timestamp"] == "1970-01-01T00:00:00Z"
    assert heads[0]["author"] == heads[0]["committer"] == {"name": "", "email": ""}
    assert heads[0]["message"] == "no author, no committer"
    assert heads[1]["timestamp"] in ("9999-12-31T23:59:59Z", "1970-01-01T00:00:00Z")
    assert all("%" not in json.dumps(head) for head in heads)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("1772597168 +0100", ("2026-03-04T05:06:08+01:00", 1772597168)),
        ("1772597168 +0000", ("2026-03-04T04:06:08+00:00", 1772597168)),
        ("%cd", ("1970-01-01T00:00:00Z", 0)),
        ("", ("1970-01-01T00:00:00Z", 0)),
        ("1772597168 -9999", ("2026-03-04T04:06:08Z", 1772597168)),
        ("1772597168 +2400", ("2026-03-04T04:06:08Z", 1772597168)),
        ("1772597168 +99999999", ("2026-03-04T04:06:08Z", 1772597168)),
        ("253402300800 +0000", ("9999-12-31T23:59:59Z", 253402300799)),
        ("9" * 40, ("1970-01-01T00:00:00Z", 0)),
        ("-1 +0000", ("1970-01-01T00:00:00Z", 0)),
    ],
)
def test_a_commits_date_is_a_moment_that_rfc_3339_can_write(raw: str, expected: tuple[str, int]) -> None:
    assert moment(raw) == expected


def test_a_date_that_git_cannot_write_as_local_time_hides_no_commit(host: Host, fake: FakeHookHub) -> None:
    tree = git("write-tree", cwd=host.clone)
    raw = f"tree {tree}\nauthor A <a@b> 0 -0500\ncommitter A <a@b> 0 -0500\n\nthe first second\n".encode()
    early = git("hash-object", "-t", "commit", "-w", "--stdin", cwd=host.clone, stdin=raw)
    host.push(f"{early}:refs/heads/main")

    (push,) = [event for event in told(fake, host) if event["type"] == "push"]

    assert [(commit["message"], commit["timestamp"]) for commit in (push["head_commit"], *push["commits"])] == [
        ("the first second", "1969-12-31T19:00:00-05:00")
    ] * 2


# Many branches -------------------------------------------------------------------------------------------------------


def many_branches(count: int) -> bytes:
    lines = [b"blob\nmark :1\ndata 1\nx\n"]
    for number in range(count):
        lines.append(b"commit refs/heads/b%05d\ncommitter A <a@b> 1772600000 +0000\ndata 1\nm\n" % number)
        lines.append(b"M 100644 :1 file-%d\n" % number)
    return b"".join(lines)


def import_branches(host: Host, count: int) -> bytes:
    """Create branches with one commit each, and return the lines that git passes to its hook."""
    git("fast-import", "--quiet", cwd=host.bare, stdin=many_branches(count))
    listed = git("for-each-ref", "--format=%(objectname) %(refname)", "refs/heads/b*", cwd=host.bare)
    return "".join(f"{ZERO} {line}\n" for line in listed.splitlines()).encode()


def test_the_number_of_git_processes_does_not_grow_with_new_branches(
    host: Host, fake: FakeHookHub, tmp_path: Path
) -> None:
    log, wrapper = tmp_path / "calls", tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper.write_text(f'#!/bin/sh\necho x >> {log}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    lines = import_branches(host, 300)

    run_hook(host, stdin=lines, PATH=f"{wrapper.parent}:{ENVIRONMENT['PATH']}", GIT_DIR=".")

    pushes = [event for event in told(fake, host) if event["type"] == "push"]
    assert [push["size"] for push in pushes] == [1] * 300
    assert len(log.read_text().split()) == 6


def events_of(host: Host, lines: bytes, since: Progress) -> list[tuple[int, int, str]]:
    changes = read_changes(iter(lines.splitlines(keepends=True)))  # type: ignore[arg-type]  # lines, as a file gives them
    push = Push("n", "2026-03-04T05:06:07Z", "ada", None, changes)
    settings = read_settings(host.bare, environment={})
    built = build_events(
        push, repository=Repository(host.bare, inherited=ENVIRONMENT, own={}), identity=settings.identity,
        before={}, dialect="sigmagit", is_first=False, since=since,
    )  # fmt: skip
    return [(line.change, line.place, line.text) for line in built]


def test_a_sender_goes_on_where_the_one_before_it_ended(host: Host) -> None:
    lines = import_branches(host, 20)

    whole = events_of(host, lines, Progress())

    assert len(whole) == 40
    assert events_of(host, lines, Progress(7, 1)) == whole[15:]
    assert events_of(host, lines, Progress(7, 2)) == whole[16:]


def test_a_push_that_was_half_built_is_finished_and_told_once(host: Host, fake: FakeHookHub) -> None:
    lines = import_branches(host, 30)
    with no_sender(host):
        run_hook(host, stdin=lines, GIT_DIR=".", **WAITING)
    (path,) = host.spool.pushes()
    # As left by a sender that was killed after a first request of 21 events.
    path.with_suffix(".000000.events").write_bytes(b'{"type": "first", "id": "1", "data": {}}\n')
    path.with_suffix(".progress").write_text(json.dumps({"change": 10, "place": 1, "batches": 1}))

    host.flush()

    events = told(fake, host)
    assert [event["type"] for event in events] == ["first", "push", *["branch.created", "push"] * 19]
    assert not list(host.spool.directory.glob("*.progress"))


# Installing ----------------------------------------------------------------------------------------------------------


def manage(*arguments: str, **more: str) -> tuple[str, str]:
    """Run the command in an environment like a push's, and return its standard output and standard error."""
    out, err = StringIO(), StringIO()
    with mock.patch.dict(os.environ, {**ENVIRONMENT, **more}, clear=True):
        call_command("post_receive", *arguments, stdout=out, stderr=err)
    return out.getvalue(), err.getvalue()


def test_a_repository_of_another_user_or_that_git_would_not_find_is_installed_and_flushed(
    host: Host, fake: FakeHookHub, tmp_path: Path
) -> None:
    strict = tmp_path / "gitconfig"
    strict.write_text("[safe]\n\tbareRepository = explicit\n")
    theirs = {"GIT_TEST_ASSUME_DIFFERENT_OWNER": "1", "GIT_CONFIG_GLOBAL": str(strict)}
    host.commit(a="1")
    with no_sender(host):
        host.push("main", **WAITING)

    _, complaints = manage(
        "--install", str(host.bare), "--url", fake.url, "--api-key", KEY, "--python", sys.executable, **theirs
    )
    flushed = run_hook(host, "--flush", str(host.bare), **theirs)

    assert complaints == ""
    assert flushed.stderr == "hookhub: 2 events sent\n"


def test_what_is_no_repository_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match=r"is not a git repository: neither it nor .* has HEAD, objects and refs"):
        install(tmp_path, url="https://hooks.example", api_key=KEY)
    with pytest.raises(InstallError, match="does not exist"):
        install(tmp_path / "nowhere", url="https://hooks.example", api_key=KEY)
    (tmp_path / "inside").mkdir()
    git("init", "--quiet", cwd=tmp_path)
    with pytest.raises(InstallError, match="is not a git repository"):
        install(tmp_path / "inside", url="https://hooks.example", api_key=KEY)


def test_a_refusal_to_install_changes_nothing(host: Host) -> None:
    hook = host.bare / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\n")
    was = (host.bare / "hookhub.json").read_bytes()

    for url, key in (("http://[::1", KEY), ("https://hooks.example", "a b")):
        with pytest.raises(NotConfigured):
            install(host.bare, url=url, api_key=key, force=True)

    assert hook.read_text() == "#!/bin/sh\n"
    assert (host.bare / "hookhub.json").read_bytes() == was
    assert not hook.with_name("post-receive.before-hookhub").exists()


def test_an_administrators_own_hooks_path_is_told(host: Host, fake: FakeHookHub, tmp_path: Path) -> None:
    own = tmp_path / "gitconfig"
    own.write_text(f"[core]\n\thooksPath = {tmp_path}/my-hooks\n")

    said, _ = manage("--install", str(host.bare), "--url", fake.url, "--api-key", KEY, GIT_CONFIG_GLOBAL=str(own))

    assert (tmp_path / "my-hooks" / "post-receive").exists()
    assert f"core.hooksPath in file:{own} is {tmp_path}/my-hooks, so the hook was installed there" in said
    assert f"when another user receives a push, git looks in {host.bare}/hooks instead" in said


def test_what_installing_tells_to_run_can_be_run_from_anywhere(
    host: Host, fake: FakeHookHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host.bare.rename(tmp_path / "my widgets.git")
    monkeypatch.chdir(tmp_path)

    said, _ = manage("--install", "my widgets.git", "--url", fake.url, "--api-key", KEY)

    [command] = re.findall("from a timer, run: (.*)", said)
    subprocess.run(["sh", "-c", command], cwd="/", check=True)


def test_a_name_that_no_repository_can_have_is_not_told_to_be_created(host: Host, fake: FakeHookHub) -> None:
    fake.answers = [refusal(422, "invalid", "Wrong.", ("repository", "acme has no such repository"))]

    _, complaints = manage(
        "--install", str(host.bare), "--url", fake.url, "--api-key", KEY, "--repository", "my wïdgets"
    )

    assert "curl" not in complaints
    assert "HookHub cannot have a repository of that name. Install again with --repository NAME." in complaints


@pytest.mark.parametrize(
    ("answer", "sentence", "is_good"),
    [
        (Answer(200, {"valid": True}), "is reachable and accepts events for acme/widgets with this key", True),
        (refusal(401, "unauthenticated", "Unknown key."), " rejected the API key: Unknown key.", False),
        (refusal(403, "forbidden", "No."), "This API key is not allowed to publish: No.", False),
        (
            refusal(422, "invalid", "Wrong.", ("repository", "acme has no such repository")),
            "acme has no such repository\nCreate it with --create and a key with the scope manage, or with:\n  curl ",
            False,
        ),
        (refusal(422, "invalid", "Wrong.", ("organization", "is another")), "organization: is another", False),
        (
            Answer(404, b"<html>"),
            "the answer was 404, but not a HookHub API response: '<html>'. Check the URL",
            False,
        ),
        (Answer(302, b"", {"Location": "/login"}), "the answer was 302", False),
        (Answer(hang_up=True), "no response from http://127.0.0.1:", False),
    ],
    ids=["right", "wrong key", "scope", "no repository", "organization", "not HookHub", "redirect", "no answer"],
)
def test_installing_says_what_it_found_of_address_key_and_repository(
    host: Host, fake: FakeHookHub, answer: Answer, sentence: str, *, is_good: bool
) -> None:
    fake.answers = [answer]

    key_file = host.clone / "key"
    key_file.write_bytes(f"\ufeff{KEY}\r\n".encode())

    said, complaints = manage(
        *("--install", str(host.bare), "--url", fake.url, "--repository", "acme/widgets"),
        *("--api-key-file", str(key_file)),
    )

    assert sentence in (said if is_good else complaints)
    assert KEY not in said + complaints
    assert [(asked.path, json.loads(asked.body)) for asked in fake.asked] == [
        ("/v1/events/validate", {"type": "push", "repository": "acme/widgets", "data": {}})
    ]
    assert json.loads((host.bare / "hookhub.json").read_text())["api_key"] == KEY


@pytest.mark.parametrize(
    ("answer", "sentence"),
    [
        (Answer(201, {"name": "widgets"}), "Checked   Created repository acme/widgets."),
        (refusal(409, "conflict", "Taken."), "Checked   Repository acme/widgets already exists."),
        (
            refusal(403, "forbidden", "Requires the scope manage."),
            "Warning   Repository acme/widgets was not created: ",
        ),
    ],
    ids=["created", "there", "not allowed"],
)
def test_installing_creates_the_repository_where_that_is_wanted(
    host: Host, fake: FakeHookHub, answer: Answer, sentence: str
) -> None:
    fake.answers = [answer]

    said, complaints = manage(
        "--install", str(host.bare), "--url", fake.url, "--api-key", KEY, "--repository", "acme/widgets", "--create"
    )

    assert sentence in said + complaints
    assert (fake.asked[0].path, json.loads(fake.asked[0].body)) == (
        "/v1/repositories", {"name": "widgets", "private": True, "organization": "acme"},
    )  # fmt: skip


def test_an_address_that_is_none_is_a_sentence_and_no_traceback(host: Host) -> None:
    with pytest.raises(CommandError, match=r"^url must look like https://hooks.example.org, not 'http://\[::1'"):
        manage("--install", str(host.bare), "--url", "http://[::1", "--api-key", KEY)


# Fields that depend on the system's shape of a push ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pusher", "number"),
    [("7", 7), ("user-12", 12), ("key-3", 855334404485290), ("x7", 855334404485290), ("9" * 30, 855334404485290)],
)
def test_a_pushers_number_is_the_servers_if_it_has_one(host: Host, fake: FakeHookHub, pusher: str, number: int) -> None:
    host.configure(repository_id="99")
    host.commit(a="1")

    host.push("main", HOOKHUB_PUSHER_ID=pusher)

    for event in told(fake, host):
        assert (event["sender"]["id"], event["repository"]["id"]) == (number, 99)
        assert event["repository"]["node_id"] == "MDEwOlJlcG9zaXRvcnk5OQ=="


@pytest.mark.parametrize(
    ("field", "is_content"),
    [
        ("events[3].type", True), ("events[0].data.head.id", True), ("events[0].data[0]", True), ("data", True),
        ("events[0].id", True), ("request", True), ("events[0].brand_new", True), ("type", True),
        ("events[0].repository", False), ("repository", False), ("events[7].organization", False),
        ("organization", False), ("Idempotency-Key", False), ("body", False), ("", False),
    ],
)  # fmt: skip
def test_only_what_an_event_holds_is_about_these_bytes(field: str, *, is_content: bool) -> None:
    assert sending.ApiError("Wrong.", ((field, "x"),)).is_about_content is is_content
