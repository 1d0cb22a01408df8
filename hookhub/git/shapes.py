"""What a push is told as: the events, and the shape of each, that the users of one system expect.

A shape is a function from a change and its history to (type, data) pairs, in the order in which they are to be told.
The creation of a ref comes before its push and its deletion after it, so that a consumer that makes and drops things
never sees a push to something it has not heard of.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from hookhub.git import github
from hookhub.git.commits import Commit
from hookhub.git.fitting import MAX_PUSH_BYTES, fitting
from hookhub.git.history import History
from hookhub.git.payloads import Change, Identity, Push

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
        yield f"{change.kind}.created", github.created(scene.history, scene.push, scene.identity, change)
    yield "push", github.pushed(scene.history, scene.push, scene.identity, change)
    if change.deleted:
        yield f"{change.kind}.deleted", github.deleted(scene.history, scene.push, scene.identity, change)


def social_gateway(scene: Scene, change: Change) -> Told:
    """Tell a push as GitHub does: ``create``, ``push``, ``delete``."""
    if change.created:
        yield "create", github.created(scene.history, scene.push, scene.identity, change)
    yield "push", github.pushed(scene.history, scene.push, scene.identity, change)
    if change.deleted:
        yield "delete", github.deleted(scene.history, scene.push, scene.identity, change)


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
            "ref": change.shown,
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
            "ref": change.shown,
            "before": change.old,
            "after": change.new,
            "commits": fitting(
                (_sigmagit_commit(commit) for commit, _ in scene.history.commits(moved)), room=MAX_PUSH_BYTES
            ),
            "totalCommits": moved.size,
            "sender": person,
        },
    )
    for commit, distinct in scene.history.commits(moved, oldest_first=True):
        if distinct:
            told = {"repository": repository, "ref": change.shown, "commit": _sigmagit_commit(commit), "sender": person}
            yield "commit", told


def _sigmagit_commit(commit: Commit) -> dict[str, Any]:
    return {
        "oid": commit.id,
        "message": commit.message,
        "author": {"name": commit.author.name, "email": commit.author.email},
        "timestamp": commit.committed_at,
    }


SHAPES: dict[str, Callable[[Scene, Change], Told]] = {
    "native": native,
    "coregit": coregit,
    "code-storage": code_storage,
    "sigmagit": sigmagit,
    "social-gateway": social_gateway,
}
