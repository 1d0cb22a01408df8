"""The git hook in each system's vocabulary: real pushes, and every event matches the system's catalogue."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deliveries.event_types import catalogue
from hookhub.event_types import validation
from hookhub.event_types.validation import Budget
from hookhub.git.install import install
from hookhub.git.settings import DIALECTS, NotConfigured, checked_dialect
from hookhub.git.shapes import SHAPES
from tests.fake_hookhub import FakeHookHub, fake_hookhub
from tests.integration.test_post_receive import ZERO, Host, make_host, told

# The commit time set in ENVIRONMENT.
COMMITTED_AT = 1772597168


@pytest.fixture
def fake() -> Iterator[FakeHookHub]:
    with fake_hookhub() as running:
        yield running


@pytest.fixture
def host(tmp_path: Path, fake: FakeHookHub) -> Host:
    return make_host(tmp_path, url=fake.url)


def types(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events]


def a_busy_day(host: Host, fake: FakeHookHub) -> list[dict[str, Any]]:
    """Push every kind of change to refs, and return the events."""
    events = []

    def push(*arguments: str) -> None:
        host.push(*arguments)
        events.extend(told(fake, host))

    base = host.commit("First", a="1")
    push("main")
    host.commit("Second ü 🎉", a="2")
    host.commit("Third", b="1")
    push("main", "main:topic", "main:refs/tags/v1")
    push("--force", f"{base}:main")
    push("--delete", "topic", "v1")
    return events


@pytest.mark.parametrize("dialect", SHAPES)
def test_whatever_is_told_is_as_the_system_documents_it(host: Host, fake: FakeHookHub, dialect: str) -> None:
    host.configure(dialect=dialect)

    a_busy_day(host, fake)

    accepted = [event for asked in fake.asked for event in asked.events]
    assert len(accepted) >= 5
    for event in accepted:
        entry = catalogue.of(dialect).types[event["type"]]
        assert validation.errors_in(event["data"], str(entry.schema_text), budget=Budget()) == {}
        assert event["repository"] == "acme/widgets"
    assert len(accepted) == len({event["id"] for event in accepted})


def test_the_settings_name_every_shape() -> None:
    assert tuple(SHAPES) == DIALECTS


def test_coregits_users_are_told_of_branches_and_of_the_repository(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="coregit")

    events = a_busy_day(host, fake)

    main = {"repo": "widgets", "branch": "main"}
    first, third = (events[index].pop("commit_sha") for index in (1, 3))
    assert events == [
        {"type": "repo.created", "repo": "widgets"},
        {"type": "branch.created", **main},
        {"type": "push", **main, "commit_sha": first},
        {"type": "push", **main},
        # Created from main, so it adds no commits.
        {"type": "branch.created", "repo": "widgets", "branch": "topic", "commit_sha": third},
        {"type": "push", **main, "commit_sha": first},
        {"type": "branch.deleted", "repo": "widgets", "branch": "topic", "commit_sha": third},
    ]


def test_a_repository_is_created_once_even_if_it_loses_all_its_branches(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="coregit")
    host.commit(a="1")
    host.push("main:refs/notes/commits", "main:refs/heads/topic")
    first = types(told(fake, host))
    host.push("--delete", "topic")
    told(fake, host)

    host.push("main:topic")

    assert first == ["repo.created", "branch.created", "push"]
    assert types(told(fake, host)) == ["branch.created", "push"]


def test_a_repository_that_was_there_before_the_hook_is_not_created_by_it(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="coregit")
    hook = host.bare / "hooks" / "post-receive"
    away = hook.rename(hook.with_name("away"))
    host.commit(a="1")
    host.push("main")
    away.rename(hook)
    host.commit(a="2")

    host.push("main")

    assert types(told(fake, host)) == ["push"]


def test_code_storages_users_are_told_where_a_branch_moved(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="code-storage", repository_id="repo_8x2k", customer_id="cus_4f7a")
    tip = host.commit(a="1")
    host.push("main", "main:refs/tags/v1")

    (push,) = told(fake, host)

    pushed_at = push.pop("pushed_at")
    assert push == {
        "type": "push",
        "repository": {"id": "repo_8x2k", "url": "https://git.example/acme/widgets.git"},
        "ref": "refs/heads/main",
        "before": ZERO,
        "after": tip,
        "customer_id": "cus_4f7a",
    }
    assert pushed_at == fake.asked[0].events[0]["timestamp"]


def test_without_ids_code_storages_users_are_told_names(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="code-storage")
    host.commit(a="1")
    host.push("main")

    (push,) = told(fake, host)

    assert (push["repository"]["id"], push["customer_id"]) == ("acme/widgets", "acme")


def test_sigmagits_users_are_told_a_push_and_each_of_its_commits(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="sigmagit", repository_id="r1")
    first, second = host.commit("First\n\nWith a body.", a="1"), host.commit("Second", a="2")

    host.push("main", HOOKHUB_PUSHER_ID="u7")

    push, *commits = told(fake, host)
    repository = {"id": "r1", "owner": "acme", "name": "widgets", "url": "https://git.example/acme/widgets"}
    person = {"id": "u7", "username": "ada"}
    listed = [
        {
            "oid": oid,
            "message": message,
            "author": {"name": "Ada", "email": "ada@example.org"},
            "timestamp": COMMITTED_AT,
        }
        for oid, message in ((first, "First\n\nWith a body."), (second, "Second"))
    ]
    assert push == {
        "type": "push",
        "repository": repository,
        "pusher": person,
        "ref": "refs/heads/main",
        "before": ZERO,
        "after": second,
        "commits": listed,
        "totalCommits": 2,
        "sender": person,
    }
    assert commits == [
        {"type": "commit", "repository": repository, "ref": "refs/heads/main", "commit": commit, "sender": person}
        for commit in listed
    ]


def test_a_commit_is_told_by_itself_once_whichever_branches_it_comes_to(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="sigmagit")
    host.commit("First", a="1")
    host.push("main", "main:topic")
    first = types(told(fake, host))
    host.commit("Second", a="2")
    host.push("main:topic")
    second = types(told(fake, host))

    host.push("main")

    assert (first, second) == (["push", "commit", "push"], ["push", "commit"])
    (push,) = told(fake, host)
    assert (push["type"], push["totalCommits"]) == ("push", 1)


def test_githubs_users_are_told_of_refs_that_come_and_go_by_githubs_names(host: Host, fake: FakeHookHub) -> None:
    host.configure(dialect="social-gateway")

    events = a_busy_day(host, fake)

    assert types(events) == [
        *("create", "push"),
        *("push", "create", "push", "create", "push"),
        "push",
        *("push", "delete", "push", "delete"),
    ]
    assert [(event["ref_type"], event["ref"]) for event in events if event["type"] == "delete"] == [
        ("branch", "topic"),
        ("tag", "v1"),
    ]


@pytest.mark.parametrize("dialect", ["codmir", "git", ""])
def test_in_a_dialect_that_tells_of_no_pushes_the_push_succeeds_and_the_pusher_is_told(
    host: Host, fake: FakeHookHub, dialect: str
) -> None:
    host.configure(dialect=dialect)
    host.commit(a="1")

    said = host.push("main")

    if dialect:
        assert "dialect must be one of native, coregit, code-storage, sigmagit, social-gateway" in said
        assert not fake.asked
    else:
        assert types(told(fake, host)) == ["branch.created", "push"]


def test_the_environment_may_name_the_dialect(host: Host, fake: FakeHookHub) -> None:
    host.commit(a="1")

    host.push("main", HOOKHUB_DIALECT="coregit")

    assert types(told(fake, host)) == ["repo.created", "branch.created", "push"]


def test_installing_writes_the_dialect_down_and_refuses_one_that_tells_of_no_pushes(host: Host) -> None:
    wanted: dict[str, Any] = {"url": "http://127.0.0.1:1", "api_key": "k"}

    installed = install(host.bare, **wanted, dialect="sigmagit", repository_id="r1", customer_id="c1")
    written = installed.settings.read_text()
    with pytest.raises(NotConfigured, match="not 'codmir': other dialects have no push events"):
        install(host.bare, **wanted, dialect="codmir")

    assert all(f'"{name}": "{value}"' in written for name, value in {
        "dialect": "sigmagit", "repository_id": "r1", "customer_id": "c1",
    }.items())  # fmt: skip
    assert installed.settings.read_text() == written
    assert checked_dialect("native") == "native"
