"""The git hook: real repositories, real pushes, and a real server that answers, rejects, hangs or is missing."""

import json
import marshal
import os
import stat
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.util import MAGIC_NUMBER
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from hookhub.git.branches import before as branches_before
from hookhub.git.hook import read_changes
from hookhub.git.install import InstallError, build_zipapp, install
from hookhub.git.payloads import Change, Push
from hookhub.git.size_limits import MAX_PUSH_BYTES
from hookhub.git.spool import Line, Progress, Spool, SpoolFull
from tests.fake_hookhub import Answer, Asked, FakeHookHub, fake_hookhub, refusal

ROOT = Path(__file__).resolve().parents[2]
ZERO = "0" * 40
# No user or system configuration, and the same commit ids in every run.
ENVIRONMENT = {
    # A Python without packages. Where a version manager starts it, that takes longer than the hook.
    "PATH": f"{sys.base_prefix}/bin{os.pathsep}{os.environ['PATH']}",
    "HOME": "/nonexistent",
    "NO_PROXY": "*",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ben",
    "GIT_COMMITTER_EMAIL": "ben@example.org",
    "GIT_AUTHOR_DATE": "2026-03-04T05:06:07+01:00",
    "GIT_COMMITTER_DATE": "2026-03-04T05:06:08+01:00",
    "HOOKHUB_PUSHER": "ada",
    "HOOKHUB_PUSHER_EMAIL": "ada@example.org",
    # `make coverage` measures the installed hook.
    **{name: value for name, value in os.environ.items() if name.startswith("COVERAGE_")},
}


def git(*arguments: str | bytes, cwd: Path, stdin: bytes = b"", **more: str) -> str:
    """Run git, require success, and return its output; a push that takes a minute was blocked."""
    done = subprocess.run(
        ["git", *arguments],
        cwd=cwd,
        input=stdin,
        capture_output=True,
        env={**ENVIRONMENT, **more},
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.decode(errors="replace").strip()


@dataclass(frozen=True)
class Host:
    """A git host with one repository that has the hook, and a clone to push from."""

    bare: Path
    clone: Path

    def commit(self, message: str | bytes = "change", **files: str) -> str:
        for name, content in files.items():
            (self.clone / name).write_text(content)
        git("add", "--all", cwd=self.clone)
        git(
            "commit",
            "--allow-empty",
            "--file=-",
            cwd=self.clone,
            stdin=message.encode() if isinstance(message, str) else message,
        )
        return git("rev-parse", "HEAD", cwd=self.clone)

    def push(self, *arguments: str, **environment: str) -> str:
        """Push, require success, and return the output of the hook that the pusher sees."""
        pushed = subprocess.run(
            ["git", "push", "--porcelain", "origin", *arguments],
            cwd=self.clone,
            capture_output=True,
            env={**ENVIRONMENT, **environment},
            timeout=60,
            check=False,
        )
        assert pushed.returncode == 0, pushed.stderr
        return "\n".join(line for line in pushed.stderr.decode().splitlines() if line.startswith("remote:"))

    @property
    def spool(self) -> Spool:
        return Spool(self.bare)

    def wait_until(self, condition: Callable[[Spool], bool]) -> None:
        """Poll the spool, on which detached processes work, without touching it or its lock."""
        until = time.monotonic() + 60
        while not condition(self.spool):
            assert time.monotonic() < until, list(self.spool.directory.iterdir())
            time.sleep(0.005)

    def flush(self) -> subprocess.CompletedProcess[str]:
        hook = self.bare / "hooks" / "post-receive"
        command = [str(hook), "--flush", str(self.bare)]
        return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)

    def configure(self, **changes: Any) -> None:
        path = self.bare / "hookhub.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.fixture
def fake() -> Iterator[FakeHookHub]:
    with fake_hookhub() as running:
        yield running


def make_host(directory: Path, *, url: str, object_format: str = "sha1") -> Host:
    bare, clone = directory / "widgets.git", directory / "clone"
    git(
        "init",
        "--quiet",
        "--bare",
        "--initial-branch=main",
        f"--object-format={object_format}",
        str(bare),
        cwd=directory,
    )
    git("init", "--quiet", "--initial-branch=main", f"--object-format={object_format}", str(clone), cwd=directory)
    git("remote", "add", "origin", str(bare), cwd=clone)
    install(
        bare,
        url=url,
        api_key="hh_1_secret",
        name="acme/widgets",
        html_url="https://git.example/acme/widgets/",
        clone_url="https://git.example/acme/widgets.git",
        interpreter=sys.executable,
    )
    hook = bare / "hooks" / "post-receive"
    hook.write_bytes(with_compiled_code(hook.read_bytes()))
    return Host(bare, clone)


@cache
def with_compiled_code(hook: bytes) -> bytes:
    """Return an installed hook with the code of its modules beside their sources.

    Python would compile the sources for each push, which takes as long as all that the pusher waits for.
    """
    if any(name.startswith("COVERAGE_") for name in ENVIRONMENT):
        return hook
    archive = BytesIO(hook)
    with zipfile.ZipFile(archive, "a") as hook_file:
        for source in [name for name in hook_file.namelist() if name.endswith(".py")]:
            code = compile(hook_file.read(source), source, "exec", dont_inherit=True)
            # By this header, Python compares the code with no source.
            header = MAGIC_NUMBER + (1).to_bytes(4, "little") + bytes(8)
            hook_file.writestr(f"{source}c", header + marshal.dumps(code))
    return archive.getvalue()


@pytest.fixture
def host(tmp_path: Path, fake: FakeHookHub) -> Host:
    return make_host(tmp_path, url=fake.url)


def told(fake: FakeHookHub, host: Host) -> list[dict[str, Any]]:
    """Return the events accepted since the last call, after everything spooled was sent."""
    host.wait_until(lambda spool: not (spool.pushes() or spool.batches()))
    events = [{"type": event["type"], **event["data"]} for event in fake.accepted.values()]
    fake.accepted.clear()
    return events


def user(login: str, number: int, node_id: str) -> dict[str, Any]:
    page = f"https://git.example/{login}"
    lists = ("followers", "following", "gists", "starred", "subscriptions", "repos", "events", "received_events")
    return {
        "login": login,
        "id": number,
        "node_id": node_id,
        "gravatar_id": "",
        "type": "User",
        "site_admin": False,
        "avatar_url": f"{page}.png",
        "url": page,
        "html_url": page,
        **{f"{name}_url": f"{page}/{name}" for name in lists},
        "organizations_url": f"{page}/orgs",
    }


ACME = user("acme", 3174341747417722, "MDQ6VXNlcjMxNzQzNDE3NDc0MTc3MjI=")
SENDER = user("ada", 855334404485290, "MDQ6VXNlcjg1NTMzNDQwNDQ4NTI5MA==")
REPOSITORY = {
    "id": 7642886260041563,
    "node_id": "MDEwOlJlcG9zaXRvcnk3NjQyODg2MjYwMDQxNTYz",
    "name": "widgets",
    "full_name": "acme/widgets",
    "owner": {**ACME, "name": "acme"},
    "private": True,
    "html_url": "https://git.example/acme/widgets",
    "description": None,
    "fork": False,
    "url": "https://git.example/acme/widgets",
    "clone_url": "https://git.example/acme/widgets.git",
    "default_branch": "main",
    "master_branch": "main",
}


def test_a_first_push_is_told_in_githubs_shape(host: Host, fake: FakeHookHub) -> None:
    first = host.commit("First\n\nWith a body.", a="1")
    second = host.commit("Second", a="2", b="1")

    said = host.push("main")

    assert said == ""
    fake.wait_for(lambda f: len(f.accepted) == 2)
    assert [asked.path for asked in fake.asked] == ["/v1/events"]
    assert fake.asked[0].headers["Authorization"] == "Bearer hh_1_secret"
    created, push = fake.accepted.values()
    assert (created["type"], created["repository"]) == ("branch.created", "acme/widgets")
    assert created["data"] == {
        "ref": "main",
        "ref_type": "branch",
        "master_branch": "main",
        "description": None,
        "pusher_type": "user",
        "repository": REPOSITORY,
        "sender": SENDER,
    }
    newest = {
        "id": second,
        "tree_id": git("rev-parse", f"{second}^{{tree}}", cwd=host.clone),
        "distinct": True,
        "message": "Second",
        "timestamp": "2026-03-04T05:06:08+01:00",
        "url": f"https://git.example/acme/widgets/commit/{second}",
        "author": {"name": "Ada", "email": "ada@example.org"},
        "committer": {"name": "Ben", "email": "ben@example.org"},
        "added": ["b"],
        "removed": [],
        "modified": ["a"],
    }
    oldest = {
        **newest,
        "id": first,
        "tree_id": git("rev-parse", f"{first}^{{tree}}", cwd=host.clone),
        "message": "First\n\nWith a body.",
        "url": f"https://git.example/acme/widgets/commit/{first}",
        "added": ["a"],
        "modified": [],
    }
    assert push["type"] == "push"
    assert push["data"] == {
        "ref": "refs/heads/main",
        "before": ZERO,
        "after": second,
        "created": True,
        "deleted": False,
        "forced": False,
        "base_ref": None,
        "compare": f"https://git.example/acme/widgets/compare/{ZERO[:12]}...{second[:12]}",
        "size": 2,
        "distinct_size": 2,
        "commits": [oldest, newest],
        "head_commit": newest,
        "repository": REPOSITORY,
        "pusher": {"name": "ada", "email": "ada@example.org"},
        "sender": SENDER,
    }


def test_an_update_tells_only_what_is_new(host: Host, fake: FakeHookHub) -> None:
    before = host.commit(a="1")
    host.push("main")
    told(fake, host)
    after = host.commit(a="2")

    host.push("main")

    (push,) = told(fake, host)
    assert (push["before"], push["after"], push["created"], push["forced"]) == (before, after, False, False)
    assert [commit["id"] for commit in push["commits"]] == [after]


def test_a_forced_push_says_so(host: Host, fake: FakeHookHub) -> None:
    base = host.commit(a="1")
    dropped = host.commit(a="2")
    host.push("main")
    told(fake, host)
    git("reset", "--quiet", "--hard", base, cwd=host.clone)
    kept = host.commit("another", a="3")

    host.push("--force", "main")

    (push,) = told(fake, host)
    assert (push["forced"], push["before"], push["after"]) == (True, dropped, kept)
    assert [commit["id"] for commit in push["commits"]] == [kept]


def test_going_back_has_a_head_but_no_commits(host: Host, fake: FakeHookHub) -> None:
    base = host.commit(a="1")
    host.commit(a="2")
    host.push("main")
    told(fake, host)

    host.push("--force", f"{base}:main")

    (push,) = told(fake, host)
    assert (push["forced"], push["size"], push["commits"]) == (True, 0, [])
    assert (push["head_commit"]["id"], push["head_commit"]["distinct"]) == (base, False)


def test_a_deleted_branch_is_pushed_first_and_then_gone(host: Host, fake: FakeHookHub) -> None:
    tip = host.commit(a="1")
    host.push("main", "main:feature/x")
    told(fake, host)

    host.push("--delete", "feature/x")

    push, deleted = told(fake, host)
    assert (push["type"], push["ref"], push["before"]) == ("push", "refs/heads/feature/x", tip)
    assert (push["after"], push["deleted"], push["head_commit"], push["commits"]) == (ZERO, True, None, [])
    assert deleted == {
        "type": "branch.deleted",
        "ref": "feature/x",
        "ref_type": "branch",
        "pusher_type": "user",
        "repository": REPOSITORY,
        "sender": SENDER,
    }


def test_a_branch_made_from_another_names_it_and_repeats_no_commits(host: Host, fake: FakeHookHub) -> None:
    tip = host.commit(a="1")
    host.push("main")
    told(fake, host)

    host.push("main:topic")

    created, push = told(fake, host)
    assert (created["type"], created["ref"]) == ("branch.created", "topic")
    assert (push["base_ref"], push["size"], push["head_commit"]["id"]) == ("refs/heads/main", 0, tip)


def test_two_new_branches_tell_their_common_commits_once(host: Host, fake: FakeHookHub) -> None:
    common = host.commit(a="1")
    git("branch", "other", cwd=host.clone)
    own = host.commit(a="2")

    host.push("main", "other")

    pushes = [event for event in told(fake, host) if event["type"] == "push"]
    assert sorted(commit["id"] for push in pushes for commit in push["commits"]) == sorted([common, own])


def test_a_merge_is_compared_with_its_first_parent_and_repeats_are_not_distinct(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    git("checkout", "--quiet", "-b", "topic", cwd=host.clone)
    topic = host.commit("on topic", t="1")
    host.push("main", "topic")
    told(fake, host)
    git("checkout", "--quiet", "main", cwd=host.clone)
    mainline = host.commit("on main", m="1")
    git("merge", "--quiet", "-m", "merge", "topic", cwd=host.clone)

    host.push("main")

    (push,) = told(fake, host)
    assert (push["size"], push["distinct_size"]) == (3, 2)
    assert {commit["id"]: commit["distinct"] for commit in push["commits"][:2]} == {topic: False, mainline: True}
    merge = push["commits"][2]
    assert (merge["message"], merge["added"], merge["modified"]) == ("merge", ["t"], [])


@pytest.mark.parametrize("annotated", [True, False], ids=["annotated", "lightweight"])
def test_a_tag_is_created_pushed_and_deleted(host: Host, fake: FakeHookHub, *, annotated: bool) -> None:
    tip = host.commit(a="1")
    host.push("main")
    told(fake, host)
    git("tag", *(["-a", "-m", "version 1"] if annotated else []), "v1", cwd=host.clone)
    tag = git("rev-parse", "v1", cwd=host.clone)

    host.push("v1")
    created, push = told(fake, host)
    host.push("--delete", "v1")
    gone, deleted = told(fake, host)

    assert (tag == tip) is not annotated
    assert (created["type"], created["ref"], created["ref_type"]) == ("tag.created", "v1", "tag")
    assert (push["ref"], push["after"], push["base_ref"]) == ("refs/tags/v1", tag, "refs/heads/main")
    assert (push["head_commit"]["id"], push["commits"], push["size"]) == (tip, [], 0)
    assert (gone["before"], gone["deleted"]) == (tag, True)
    assert (deleted["type"], deleted["ref"]) == ("tag.deleted", "v1")


def test_a_tag_on_something_that_is_no_commit_has_no_head(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    git("tag", "blob", "HEAD:a", cwd=host.clone)

    host.push("blob")

    _, push = told(fake, host)
    assert (push["ref"], push["head_commit"]) == ("refs/tags/blob", None)


def test_refs_nobody_asked_about_are_not_told(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")

    host.push("HEAD:refs/notes/commits", "HEAD:refs/changes/1")

    assert told(fake, host) == []
    assert fake.asked == []


def test_an_empty_push_leaves_nothing_behind(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    host.push("main")
    told(fake, host)

    host.push("main")

    assert (told(fake, host), len(fake.asked)) == ([], 1)


def test_files_are_sorted_into_added_removed_and_modified(host: Host, fake: FakeHookHub) -> None:
    (host.clone / "binary").write_bytes(bytes(range(256)))
    host.commit(renamed="the same content\n" * 10, removed="x")
    host.push("main")
    told(fake, host)
    git("mv", "renamed", "new name", cwd=host.clone)
    git("rm", "--quiet", "removed", cwd=host.clone)
    (host.clone / "binary").write_bytes(bytes(reversed(range(256))))
    (host.clone / 'quoted "ü"\n\tpath').write_text("x")
    (host.clone / "\nA").write_text("a name that looks like a status line")
    host.commit()

    host.push("main")

    commit = told(fake, host)[0]["head_commit"]
    assert commit["added"] == ["\nA", "new name", 'quoted "ü"\n\tpath']
    assert commit["removed"] == ["removed", "renamed"]
    assert commit["modified"] == ["binary"]


def test_what_is_not_utf8_is_replaced_and_never_fails(host: Host, fake: FakeHookHub) -> None:
    (host.clone / os.fsdecode(b"caf\xe9")).write_text("x")
    git("config", "i18n.commitEncoding", "utf-8", cwd=host.clone)
    host.commit(b"caf\xe9 \xff")

    host.push("main")

    commit = told(fake, host)[1]["head_commit"]
    assert commit["added"] == ["caf�"]
    assert commit["message"] in ("caf� �", "café ÿ")


def test_a_message_in_a_declared_encoding_is_converted(host: Host, fake: FakeHookHub) -> None:
    git("config", "i18n.commitEncoding", "iso-8859-1", cwd=host.clone)
    host.commit(b"caf\xe9", a="1")

    host.push("main")

    assert told(fake, host)[1]["head_commit"]["message"] == "café"


def test_a_sha256_repository_is_told_like_any_other(tmp_path: Path, fake: FakeHookHub) -> None:
    host = make_host(tmp_path, url=fake.url, object_format="sha256")
    tip = host.commit(a="1")

    host.push("main")

    _, push = told(fake, host)
    assert (len(tip), push["after"], push["before"], push["size"]) == (64, tip, "0" * 64, 1)


def test_a_repository_with_a_working_tree_is_told_like_a_bare_one(tmp_path: Path, fake: FakeHookHub) -> None:
    host = make_host(tmp_path, url=fake.url)
    checkout = tmp_path / "checkout"
    git("init", "--quiet", "--initial-branch=main", str(checkout), cwd=tmp_path)
    install(checkout, url=fake.url, api_key="k", interpreter=sys.executable)
    git("remote", "set-url", "origin", str(checkout), cwd=host.clone)
    host.commit(a="1")

    host.push("main:topic")

    events = told(fake, Host(checkout / ".git", host.clone))
    assert [event["type"] for event in events] == ["branch.created", "push"]
    assert events[0]["repository"]["full_name"] == "checkout"
    assert events[0]["repository"]["html_url"] is None


def many_commits(count: int, *, message: str = "m", files: int = 1) -> bytes:
    """Return a history for git fast-import, which creates thousands of commits quickly."""
    lines = [b"blob\nmark :1\ndata 1\nx\n"]
    for number in range(count):
        said = f"{message} {number}".encode()
        lines.append(b"commit refs/heads/main\ncommitter A <a@b> %d +0000\n" % (1_772_600_000 + number))
        lines.append(b"data %d\n%s\n" % (len(said), said))
        lines += [b"M 100644 :1 dir/%d-%d\n" % (number, file) for file in range(files)]
    return b"".join(lines)


def test_a_huge_push_is_capped_at_the_newest_commits_but_counts_all(host: Host, fake: FakeHookHub) -> None:
    git("fast-import", "--quiet", cwd=host.clone, stdin=many_commits(2_100))

    host.push("main")

    _, push = told(fake, host)
    assert (push["size"], push["distinct_size"]) == (2_100, 2_100)
    messages = [commit["message"] for commit in push["commits"]]
    assert messages == [f"m {number}" for number in range(2_100 - len(messages), 2_100)]
    assert 1_000 < len(messages) <= 2_048
    assert len(json.dumps(push["commits"])) < MAX_PUSH_BYTES


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(many_commits(5, message="é" * 60_000), id="endless messages"),
        pytest.param(many_commits(2, files=20_000), id="many thousand files in one commit"),
    ],
)
def test_a_heavy_commit_is_shortened_and_says_so(host: Host, fake: FakeHookHub, history: bytes) -> None:
    git("fast-import", "--quiet", cwd=host.clone, stdin=history)

    host.push("main")

    _, push = told(fake, host)
    assert push["head_commit"]["truncated"] is True
    assert len(json.dumps(push)) < 1 << 20
    assert push["commits"]


def test_the_number_of_git_processes_does_not_grow_with_the_push(host: Host, fake: FakeHookHub, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    wrapper = tmp_path / "bin" / "git"
    wrapper.parent.mkdir()
    real = subprocess.run(["which", "git"], capture_output=True, text=True, check=True).stdout.strip()
    wrapper.write_text(f'#!/bin/sh\necho x >> {log}\nexec {real} "$@"\n')
    wrapper.chmod(0o755)
    counts = []
    # The hook is run directly instead of by a push, because git puts its own directory first in the PATH of hooks.
    lines = []
    for number, commits in enumerate((1, 300)):
        git("fast-import", "--quiet", "--force", cwd=host.bare, stdin=many_commits(commits, message=str(number)))
        tip = git("rev-parse", "main", cwd=host.bare)
        lines.append(f"{ZERO} {tip} refs/heads/main\n")
        log.write_text("")
        subprocess.run(
            [host.bare / "hooks" / "post-receive"],
            input=lines[-1],
            text=True,
            cwd=host.bare,
            env={**ENVIRONMENT, "PATH": f"{wrapper.parent}:{ENVIRONMENT['PATH']}", "GIT_DIR": "."},
            check=True,
        )
        events = told(fake, host)
        assert events[1]["size"] == commits
        counts.append(len(log.read_text().split()))

    assert counts == [6, 6]


def test_a_push_does_not_wait_for_a_hookhub_that_hangs_and_is_told_once_later(host: Host, fake: FakeHookHub) -> None:
    host.configure(timeout_seconds=300)
    fake.answers = [Answer(hang=True)]
    host.commit(a="1")

    host.push("main")

    # The push is over, and its one request is still unanswered.
    fake.wait_for(lambda f: len(f.asked) == 1)
    assert fake.accepted == {}
    host.commit(a="2")
    host.push("main")
    fake.released.set()
    fake.wait_for(lambda f: len(f.accepted) == 3)
    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push", "push"]
    assert [len(asked.events) for asked in fake.asked] == [2, 2, 1]
    assert fake.asked[0].body == fake.asked[1].body


def test_events_outlive_a_hookhub_that_is_not_there(host: Host, fake: FakeHookHub) -> None:
    host.configure(url="http://127.0.0.1:9", patience_seconds=0)
    host.commit(a="1")
    said = host.push("main")
    wait_for_problem(host)
    fake_before = len(fake.asked)

    refused = host.flush()
    host.configure(url=fake.url)
    host.commit(a="2")
    host.push("main")

    assert (said, fake_before) == ("", 0)
    assert refused.returncode == 1
    assert "1 file queued: no response from http://127.0.0.1:9: [Errno 111] Connection refused" in refused.stderr
    fake.wait_for(lambda f: len(f.accepted) == 3)
    assert [event["created"] for event in told(fake, host) if event["type"] == "push"] == [True, False]
    host.wait_until(lambda spool: not (spool.directory / "last-problem").exists())


def wait_for_problem(host: Host) -> str:
    """Return the problem that a sender recorded when it gave up."""
    path = host.spool.directory / "last-problem"
    host.wait_until(lambda _: path.exists())
    return path.read_text()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(refusal(401, "unauthenticated", "This key is revoked."), id="a wrong key"),
        pytest.param(refusal(404, "not_found", "No such repository."), id="a repository not yet created"),
        pytest.param(Answer(302, b"", {"Location": "/login"}), id="a redirect"),
        pytest.param(Answer(200, b"<html>welcome</html>"), id="an address that is not HookHub's"),
    ],
)
def test_a_wrong_setting_keeps_the_events_until_it_is_right(host: Host, fake: FakeHookHub, answer: Answer) -> None:
    fake.otherwise = lambda _: answer
    host.commit(a="1")

    host.push("main")
    problem = wait_for_problem(host)
    fake.otherwise = None
    flushed = host.flush()

    assert str(answer.status) in problem
    assert (flushed.returncode, flushed.stderr) == (0, "hookhub: 2 events sent\n")
    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert list((host.bare / "hookhub-spool").glob("*.events")) == []


def test_an_event_that_is_refused_for_good_is_set_aside_alone(host: Host, fake: FakeHookHub) -> None:
    def refuse_tags(asked: Asked) -> Answer:
        bad = [index for index, event in enumerate(asked.events) if event["type"] == "tag.created"]
        fields = [(f"events[{index}].type", "Not a type.") for index in bad]
        return refusal(400, "invalid", "One event is wrong.", *fields) if bad else fake.accept(asked)

    fake.otherwise = refuse_tags
    host.commit(a="1")
    git("tag", "v1", cwd=host.clone)

    host.push("main", "v1")

    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push", "push"]
    reason, events = sorted(
        (host.bare / "hookhub-spool" / "rejected").iterdir(), key=lambda path: path.suffix, reverse=True
    )
    assert json.loads(events.read_bytes())["type"] == "tag.created"
    assert reason.read_text() == ("HookHub answered 400: One event is wrong.; events[0].type: Not a type.\n")
    requests = len(fake.asked)
    assert host.flush().stderr == "hookhub: 0 events sent\n"
    assert len(fake.asked) == requests


def test_many_pushes_at_once_are_told_once_each(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    host.push("main")
    told(fake, host)
    pushes = [threading.Thread(target=host.push, args=(f"main:topic-{number}",)) for number in range(6)]

    for push in pushes:
        push.start()
    for push in pushes:
        push.join()

    fake.wait_for(lambda f: len(f.accepted) == 12)
    ids = [event["id"] for asked in fake.asked for event in asked.events]
    assert len(ids) == len(set(ids)) == 14
    types = [event["type"] for event in told(fake, host)]
    assert types == ["branch.created", "push"] * 6


def test_in_the_foreground_the_pusher_sees_what_was_sent(host: Host) -> None:
    host.configure(budget_seconds=60)
    host.commit(a="1")

    said = host.push("main", HOOKHUB_FOREGROUND="1")

    assert said.strip() == "remote: hookhub: 2 events sent"


def test_in_the_foreground_a_hanging_hookhub_costs_no_more_than_the_budget(host: Host, fake: FakeHookHub) -> None:
    host.configure(budget_seconds=0.2, timeout_seconds=300)
    fake.answers = [Answer(hang=True)]
    host.commit(a="1")

    said = host.push("main", HOOKHUB_FOREGROUND="1")

    assert said.strip() == "remote: hookhub: no response from HookHub yet; the events are queued in the spool"
    assert fake.accepted == {}
    fake.released.set()
    fake.wait_for(lambda f: len(f.accepted) == 2)


@pytest.mark.parametrize(
    ("break_it", "sentence"),
    [
        pytest.param(lambda bare: (bare / "hookhub.json").unlink(), "set url and api_key in", id="no settings"),
        pytest.param(lambda bare: (bare / "hookhub.json").write_text("{"), "cannot read ", id="broken settings"),
        pytest.param(
            lambda bare: (bare / "hookhub.json").write_text('{"uri": 1}'),
            "unknown settings: uri",
            id="a misspelt setting",
        ),
        pytest.param(
            lambda bare: (bare / "hookhub-spool").write_text(""),
            "events for this push may be missing: FileExistsError",
            id="no place",
        ),
    ],
)
def test_whatever_is_wrong_the_push_succeeds_with_one_line(
    host: Host, fake: FakeHookHub, break_it: Callable[[Path], object], sentence: str
) -> None:
    break_it(host.bare)
    host.commit(a="1")

    said = host.push("main")

    assert sentence in said
    assert len(said.splitlines()) == 1
    assert fake.asked == []


def test_a_hook_that_is_given_nonsense_still_ends_well(host: Host) -> None:
    hook = host.bare / "hooks" / "post-receive"

    done = subprocess.run([hook], input=b"nonsense\n", cwd=host.bare, capture_output=True, env=ENVIRONMENT, check=False)

    assert done.returncode == 0
    assert done.stderr == (
        b"hookhub: events for this push may be missing: ValueError: expected 'old new ref' from git, got 'nonsense'\n"
    )


def test_an_inherited_quarantine_is_not_looked_into(host: Host, fake: FakeHookHub, tmp_path: Path) -> None:
    tip = host.commit(a="1")
    git("config", "receive.denyDeletes", "false", cwd=host.bare)
    hook = host.bare / "hooks" / "post-receive"
    aside = hook.rename(tmp_path / "hook")
    host.push("main")
    quarantine = {"GIT_QUARANTINE_PATH": "/nowhere", "GIT_OBJECT_DIRECTORY": "/nowhere", "GIT_DIR": "."}

    subprocess.run(
        [aside],
        input=f"{ZERO} {tip} refs/heads/main\n".encode(),
        cwd=host.bare,
        env={**ENVIRONMENT, **quarantine},
        check=True,
    )

    _, push = told(fake, host)
    assert (push["head_commit"]["id"], push["size"]) == (tip, 1)


def test_a_push_whose_commits_are_gone_is_still_told(host: Host, fake: FakeHookHub) -> None:
    hook = host.bare / "hooks" / "post-receive"
    line = f"{'1' * 40} {'2' * 40} refs/heads/main\n".encode()

    subprocess.run([hook], input=line, cwd=host.bare, env={**ENVIRONMENT, "GIT_DIR": "."}, check=True)

    (push,) = told(fake, host)
    assert (push["before"], push["commits"], push["head_commit"]) == ("1" * 40, [], None)


A, B, C = ("a" * 40, "b" * 40, "c" * 40)


def pushed(*changes: tuple[str, str, str], nonce: str = "n") -> Push:
    made = tuple(Change(*change) for change in changes)
    return Push(nonce, "2026-03-04T05:06:07Z", pusher_name="ada", pusher_email=None, changes=made)


@pytest.mark.parametrize(
    ("push", "later", "before"),
    [
        pytest.param(pushed((ZERO, C, "refs/heads/main")), [], {}, id="the branch was not there"),
        pytest.param(pushed((A, C, "refs/heads/main")), [], {"refs/heads/main": A}, id="the branch was elsewhere"),
        pytest.param(
            pushed((A, B, "refs/heads/main")),
            [pushed((B, C, "refs/heads/main"))],
            {"refs/heads/main": A},
            id="moved since",
        ),
        pytest.param(
            pushed((A, ZERO, "refs/heads/x")),
            [pushed((ZERO, C, "refs/heads/main"))],
            {"refs/heads/x": A},
            id="another branch came since",
        ),
        pytest.param(pushed((ZERO, A, "refs/tags/v1")), [], {"refs/heads/main": C}, id="tags are no branches"),
    ],
)
def test_the_branches_before_a_push_are_reconstructed(push: Push, later: list[Push], before: dict[str, str]) -> None:
    assert branches_before(push, later=later, seen={"refs/heads/main": C}) == before


def test_a_push_survives_the_spool_unchanged(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    push = pushed((A, B, "refs/heads/ü"), (B, ZERO, "refs/tags/v1"))

    path = spool.append(push, at_ns=1)

    assert (spool.pushes(), spool.read_push(path)) == ([path], push)


def test_a_full_spool_takes_no_more_and_says_what_to_do(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_files=1)
    spool.append(pushed(nonce="1"), at_ns=1)

    with pytest.raises(SpoolFull, match=r"is full \(1 files, 0 MiB\).*--flush"):
        spool.append(pushed(nonce="2"), at_ns=2)

    assert len(spool.pushes()) == 1


def test_a_sender_that_died_half_way_leaves_nothing_twice(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    path = spool.append(pushed(), at_ns=1)
    path.with_suffix(".000007.events").write_text("left over\n")

    list(spool.replace(path, [Line(0, 0, "one"), Line(0, 1, "two")]))

    assert [batch.read_text() for batch in spool.batches()] == ["one\ntwo\n"]
    assert spool.pushes() == []


def test_building_events_that_fails_leaves_the_push_and_goes_on_where_it_was(tmp_path: Path) -> None:
    def broken() -> Iterator[Line]:
        yield from [Line(0, place, "x" * 3_000_000) for place in range(2)]
        raise RuntimeError

    spool = Spool(tmp_path)
    path = spool.append(pushed(), at_ns=1)

    with pytest.raises(RuntimeError):
        list(spool.replace(path, broken()))

    assert (spool.pushes(), len(spool.batches())) == ([path], 1)
    assert spool.progress_of(path) == Progress(change=0, place=1, batches=1)
    list(spool.replace(path, [Line(0, 1, "the rest")]))
    assert [batch.read_bytes()[:9] for batch in spool.batches()] == [b"xxxxxxxxx", b"the rest\n"]
    assert (spool.pushes(), list(spool.directory.glob("*.progress"))) == ([], [])


def test_pushes_keep_their_order_when_the_clock_is_set_back(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    request = spool.append(pushed(nonce="1"), at_ns=2_000)
    list(spool.replace(request, [Line(0, 0, "first")]))
    later = [
        spool.append(pushed(nonce=nonce), at_ns=at_ns) for nonce, at_ns in (("0", 1_000), ("3", 1_001), ("2", 999))
    ]

    assert spool.pushes() == later
    for push in later:
        list(spool.replace(push, [Line(0, 0, "later")]))
    assert [batch.read_text() for batch in spool.batches()] == ["first\n", "later\n", "later\n", "later\n"]


def test_a_sender_that_died_between_two_halves_repeats_events_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spool = Spool(tmp_path)
    list(spool.replace(spool.append(pushed(), at_ns=1), [Line(0, place, each) for place, each in enumerate("abcd")]))
    write = Spool._write

    def die_after_one(self: Spool, path: Path, content: bytes) -> None:
        write(self, path, content)
        raise KeyboardInterrupt

    monkeypatch.setattr(Spool, "_write", die_after_one)
    with pytest.raises(KeyboardInterrupt):
        spool.split(spool.batches()[0])

    assert [batch.read_text().split() for batch in spool.batches()] == [["a", "b"], ["a", "b", "c", "d"]]


def test_halves_keep_their_place_in_the_order(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    for number in (1, 2):
        path = spool.append(pushed(nonce=str(number)), at_ns=number)
        list(spool.replace(path, [Line(0, place, f"{number}{part}") for place, part in enumerate("abcd")]))

    assert spool.split(spool.batches()[0])
    assert spool.split(spool.batches()[0])

    assert [batch.read_text().split() for batch in spool.batches()] == [
        ["1a"],
        ["1b"],
        ["1c", "1d"],
        ["2a", "2b", "2c", "2d"],
    ]
    assert not spool.split(spool.batches()[0])


def test_a_file_that_is_no_push_is_set_aside(host: Host, fake: FakeHookHub) -> None:
    spool = host.spool
    spool.directory.mkdir()
    (spool.directory / "0-poison.push").write_text("{}")
    host.commit(a="1")

    host.push("main")

    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert (spool.rejected / "0-poison.push").read_text() == "{}"
    assert (spool.rejected / "0-poison.push.reason").read_text().startswith("not a stored push: ")


@pytest.mark.parametrize(
    "line", [b"a b c\n", b"\n", ZERO.encode() + b"\n", f"{A} {B}\n".encode(), f"{A} {B[:-1]} r\n".encode()]
)
def test_only_gits_own_lines_are_read(line: bytes) -> None:
    with pytest.raises(ValueError, match="expected 'old new ref' from git"):
        read_changes(iter([line]))  # type: ignore[arg-type]


def test_installing_keeps_the_key_private_and_the_spool_too(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")
    host.push("main")
    told(fake, host)

    modes = {
        name: stat.S_IMODE((host.bare / name).stat().st_mode)
        for name in ("hookhub.json", "hookhub-spool", "hooks/post-receive")
    }

    assert modes == {"hookhub.json": 0o600, "hookhub-spool": 0o700, "hooks/post-receive": 0o755}
    assert b"hh_1_secret" not in (host.bare / "hooks" / "post-receive").read_bytes()


def test_installing_again_renews_our_own_hook(host: Host) -> None:
    installed = install(host.bare, url="https://new.example/v1/", api_key="new", interpreter=sys.executable)

    assert installed.backup is None
    assert json.loads(installed.settings.read_text()) == {
        "url": "https://new.example",
        "api_key": "new",
        "repository": "widgets",
    }


def test_another_hook_is_not_overwritten_without_force(host: Host) -> None:
    hook = host.bare / "hooks" / "post-receive"
    hook.write_text("#!/bin/sh\nexit 0\n")
    settings = (host.bare / "hookhub.json").read_text()

    with pytest.raises(InstallError, match=r"is not HookHub's(.|\n)*--hook-name hookhub-post-receive"):
        install(host.bare, url="https://new.example", api_key="new")

    assert hook.read_text() == "#!/bin/sh\nexit 0\n"
    assert (host.bare / "hookhub.json").read_text() == settings
    installed = install(host.bare, url="https://new.example", api_key="new", force=True)
    assert installed.backup is not None
    assert installed.backup.read_text() == "#!/bin/sh\nexit 0\n"


def test_a_hook_of_another_name_can_be_chained_as_the_refusal_explains(
    host: Host, fake: FakeHookHub, tmp_path: Path
) -> None:
    hook = host.bare / "hooks" / "post-receive"
    hook.write_text(
        f'#!/bin/sh\nlines=$(cat)\nprintf "%s\\n" "$lines" | "$0"-hookhub\nprintf "%s\\n" "$lines" > {tmp_path}/own\n'
    )
    install(host.bare, url=fake.url, api_key="k", hook_name="post-receive-hookhub", interpreter=sys.executable)
    tip = host.commit(a="1")

    host.push("main")

    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
    assert (tmp_path / "own").read_text() == f"{ZERO} {tip} refs/heads/main\n"


def test_hooks_are_installed_where_git_looks_for_them(host: Host, tmp_path: Path) -> None:
    git("config", "core.hooksPath", str(tmp_path / "shared-hooks"), cwd=host.bare)

    installed = install(host.bare, url="https://new.example", api_key="new")

    assert installed.note is not None
    assert installed.hook == tmp_path / "shared-hooks" / "post-receive"


def test_a_directory_that_is_no_repository_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="is not a git repository"):
        install(tmp_path, url="https://new.example", api_key="new")

    assert list(tmp_path.iterdir()) == []


def test_the_same_version_is_packed_into_the_same_bytes() -> None:
    assert build_zipapp() == build_zipapp()
    assert build_zipapp().startswith(b"#!/usr/bin/env python3\n# HookHub's post-receive hook")


def test_manage_py_installs_the_hook_and_is_one_itself(host: Host, fake: FakeHookHub) -> None:
    manage = [sys.executable, str(ROOT / "manage.py"), "post_receive"]
    hook = host.bare / "hooks" / "post-receive"
    hook.unlink()
    host.configure(patience_seconds=0)
    options = ["--url", fake.url, "--api-key", "hh_2_key", "--repository", "acme/widgets", "--python", sys.executable]
    installed = subprocess.run(
        [*manage, "--install", str(host.bare), *options], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )
    assert f"Installed {hook}\n" in installed.stdout
    hook.write_text(f"#!/bin/sh\nexec {' '.join(manage)} --foreground\n")
    host.configure(budget_seconds=60)
    host.commit(a="1")

    said = host.push("main")
    flushed = subprocess.run(
        [*manage, "--flush", str(host.bare)], capture_output=True, text=True, env=ENVIRONMENT, check=True
    )

    assert said.strip() == "remote: hookhub: 2 events sent"
    assert flushed.stderr == "hookhub: 0 events sent\n"
    assert fake.asked[0].headers["Authorization"] == "Bearer hh_2_key"
    assert [event["type"] for event in told(fake, host)] == ["branch.created", "push"]
