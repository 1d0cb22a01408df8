"""What a push is told as: the events, and the shape of each, that the users of one system expect.

A shape is a function from a change and its history to (type, data) pairs, in the order in which they are to be told.
The creation of a ref comes before its push and its deletion after it, so that a consumer that makes and drops things
never sees a push to something it has not heard of.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Callable

from hookhub.git.history import History
from hookhub.git.payloads import Change, Identity, Push
from hookhub.git.repository import Commit

# Below the API's 1 MiB per event, measured as escaped ASCII so that no re-encoding on the way can exceed it.
MAX_PUSH_BYTES = 900_000
MAX_COMMIT_BYTES = 300_000

Told = Iterator[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class Scene:
    """What the events of one change have in common; ``is_first`` when it is the first that the repository has seen."""

    push: Push
    identity: Identity
    history: History
    is_first: bool


# GitHub's, and HookHub's own, which has grown from it ----------------------------------------------------------------


def native(scene: Scene, change: Change) -> Told:
    """Tell a push as GitHub does, and what was created or deleted by types of its own: ``branch.created``."""
    if change.created:
        yield f"{change.kind}.created", _created(scene, change)
    yield "push", _pushed(scene, change)
    if change.deleted:
        yield f"{change.kind}.deleted", _deleted(scene, change)


def social_gateway(scene: Scene, change: Change) -> Told:
    """Tell a push as GitHub does: ``create``, ``push``, ``delete``."""
    if change.created:
        yield "create", _created(scene, change)
    yield "push", _pushed(scene, change)
    if change.deleted:
        yield "delete", _deleted(scene, change)


def _created(scene: Scene, change: Change) -> dict[str, Any]:
    return {
        "ref": change.short,
        "ref_type": change.kind,
        "master_branch": scene.history.default_branch,
        "description": None,
        "pusher_type": "user",
        "repository": _github_repository(scene),
        "sender": _github_sender(scene),
    }


def _deleted(scene: Scene, change: Change) -> dict[str, Any]:
    return {
        "ref": change.short,
        "ref_type": change.kind,
        "pusher_type": "user",
        "repository": _github_repository(scene),
        "sender": _github_sender(scene),
    }


def _pushed(scene: Scene, change: Change) -> dict[str, Any]:
    moved, page = scene.history.moved(change), scene.identity.html_url
    head = None if moved.head is None else _github_commit(moved.head, page=page, distinct=moved.is_head_distinct)
    newest = (_github_commit(commit, page=page, distinct=distinct) for commit, distinct in moved.newest)
    return {
        "ref": change.ref,
        "before": change.old,
        "after": change.new,
        "created": change.created,
        "deleted": change.deleted,
        "forced": moved.forced,
        "base_ref": scene.history.base_ref(change),
        "compare": f"{page}/compare/{change.old[:12]}...{change.new[:12]}" if page else None,
        "size": moved.size,
        "distinct_size": moved.distinct_size,
        "commits": _fitting(newest, room=MAX_PUSH_BYTES - (_size(head) if head else 0)),
        "head_commit": head,
        "repository": _github_repository(scene),
        "pusher": {"name": scene.push.pusher_name, "email": scene.push.pusher_email},
        "sender": _github_sender(scene),
    }


def _github_repository(scene: Scene) -> dict[str, Any]:
    identity = scene.identity
    return {
        "name": identity.short,
        "full_name": identity.name,
        "owner": {"name": identity.owner, "login": identity.owner},
        "private": identity.private,
        "html_url": identity.html_url,
        "url": identity.html_url,
        "clone_url": identity.clone_url,
        "default_branch": scene.history.default_branch,
    }


def _github_sender(scene: Scene) -> dict[str, Any]:
    return {"login": scene.push.pusher_name, "type": "User"}


def _github_commit(commit: Commit, *, page: str | None, distinct: bool) -> dict[str, Any]:
    shown = {
        "id": commit.id,
        "tree_id": commit.tree_id,
        "distinct": distinct,
        "message": commit.message,
        "timestamp": commit.timestamp,
        "url": f"{page}/commit/{commit.id}" if page else None,
        "author": {"name": commit.author.name, "email": commit.author.email},
        "committer": {"name": commit.committer.name, "email": commit.committer.email},
        "added": list(commit.added),
        "removed": list(commit.removed),
        "modified": list(commit.modified),
    }
    return _trimmed({**shown, "truncated": True} if commit.truncated else shown)


# Coregit's -----------------------------------------------------------------------------------------------------------


def coregit(scene: Scene, change: Change) -> Told:
    """Tell what became of branches, each with the commit it stands or stood on; it knows no tags."""
    repo, moved = scene.identity.short, scene.history.moved(change)
    if scene.is_first:
        yield "repo.created", {"repo": repo}
    if change.kind != "branch":
        return
    branch = {"repo": repo, "branch": change.short}
    if change.deleted:
        yield "branch.deleted", {**branch, "commit_sha": change.old}
        return
    if change.created:
        yield "branch.created", {**branch, "commit_sha": change.new}
    # A push is of new commits, and a branch made from another brings none.
    if not change.created or moved.distinct_size:
        yield "push", {**branch, "commit_sha": change.new}


# Code Storage's ------------------------------------------------------------------------------------------------------


def code_storage(scene: Scene, change: Change) -> Told:
    """Tell that a branch moved, from where and to where; zeros are for one that was not there, or is no longer."""
    if change.kind != "branch":
        return
    identity = scene.identity
    yield (
        "push",
        {
            "repository": {
                "id": identity.id or identity.name,
                "url": identity.clone_url or identity.html_url or "",
            },
            "ref": change.ref,
            "before": change.old,
            "after": change.new,
            "customer_id": identity.customer_id or identity.owner or "",
            "pushed_at": scene.push.pushed_at,
        },
    )


# Sigmagit's ----------------------------------------------------------------------------------------------------------


def sigmagit(scene: Scene, change: Change) -> Told:
    """Tell a push with its commits, and then each commit that no branch had before by itself, the oldest first."""
    identity, push = scene.identity, scene.push
    moved = scene.history.moved(change)
    person = {"id": push.pusher_id or push.pusher_name, "username": push.pusher_name}
    repository = {
        "id": identity.id or identity.name,
        "owner": identity.owner or "",
        "name": identity.short,
        "url": identity.html_url or identity.clone_url or "",
    }
    yield (
        "push",
        {
            "repository": repository,
            "pusher": person,
            "ref": change.ref,
            "before": change.old,
            "after": change.new,
            "commits": _fitting((_sigmagit_commit(commit) for commit, _ in moved.newest), room=MAX_PUSH_BYTES),
            "totalCommits": moved.size,
            "sender": person,
        },
    )
    for commit, distinct in reversed(moved.newest):
        if distinct:
            told = {"repository": repository, "ref": change.ref, "commit": _sigmagit_commit(commit), "sender": person}
            yield "commit", told


def _sigmagit_commit(commit: Commit) -> dict[str, Any]:
    return {
        "oid": commit.id,
        "message": commit.message,
        "author": {"name": commit.author.name, "email": commit.author.email},
        "timestamp": commit.committed_at,
    }


DEFAULT = "native"
SHAPES: dict[str, Callable[[Scene, Change], Told]] = {
    DEFAULT: native,
    "coregit": coregit,
    "code-storage": code_storage,
    "sigmagit": sigmagit,
    "social-gateway": social_gateway,
}


# What has room in one event ------------------------------------------------------------------------------------------


def _size(shown: dict[str, Any]) -> int:
    return len(json.dumps(shown)) + len(", ")


def _trimmed(shown: dict[str, Any]) -> dict[str, Any]:
    """Halve a commit's lists of paths until it fits its share, and say so with ``truncated``."""
    keep = max(len(shown[name]) for name in ("added", "removed", "modified"))
    while _size(shown) > MAX_COMMIT_BYTES and keep:
        keep //= 2
        cut = {name: shown[name][:keep] for name in ("added", "removed", "modified")}
        shown = {**shown, **cut, "truncated": True}
    return shown


def _fitting(newest: Iterable[dict[str, Any]], *, room: int) -> list[dict[str, Any]]:
    """Keep the newest commits that fit into ``room`` bytes, oldest first; the event tells how many there were."""
    kept: list[dict[str, Any]] = []
    for shown in newest:
        room -= _size(shown)
        if room < 0:
            break
        kept.append(shown)
    return kept[::-1]
