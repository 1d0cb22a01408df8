"""Builds the events of a ref change in each dialect: the event types and payloads that the vendor's users expect.

A shape is a function that yields the (type, data) pairs of one change in the order in which to publish them. The
creation of a ref precedes its push, and its deletion follows it, so that a consumer that mirrors refs never sees a push
to a ref that it does not know.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Callable

from hookhub.git import github
from hookhub.git.commits import Commit
from hookhub.git.history import History
from hookhub.git.payloads import Change, Identity, Push
from hookhub.git.size_limits import MAX_PUSH_BYTES, newest_within

Events = Iterator[tuple[str, dict[str, Any]]]


@dataclass(frozen=True)
class ChangeContext:
    """The context of one change; ``is_first`` is True for the first change ever published for the repository."""

    push: Push
    identity: Identity
    history: History
    is_first: bool


# GitHub's shape, and the native one, which is based on it ------------------------------------------------------------


def native(context: ChangeContext, change: Change) -> Events:
    """Yield GitHub's ``push``, with the native types ``branch.created``, ``tag.deleted`` and so on."""
    if change.created:
        yield f"{change.kind}.created", github.created(context.history, context.push, context.identity, change)
    yield "push", github.pushed(context.history, context.push, context.identity, change)
    if change.deleted:
        yield f"{change.kind}.deleted", github.deleted(context.history, context.push, context.identity, change)


def social_gateway(context: ChangeContext, change: Change) -> Events:
    """Yield GitHub's ``create``, ``push`` and ``delete``."""
    if change.created:
        yield "create", github.created(context.history, context.push, context.identity, change)
    yield "push", github.pushed(context.history, context.push, context.identity, change)
    if change.deleted:
        yield "delete", github.deleted(context.history, context.push, context.identity, change)


# Coregit -------------------------------------------------------------------------------------------------------------


def coregit(context: ChangeContext, change: Change) -> Events:
    """Yield Coregit's events for branches, each with the new tip, or the last one after a deletion; none for tags."""
    repo, moved = context.identity.short, context.history.moved(change)
    if context.is_first:
        yield "repo.created", {"repo": repo}
    if change.kind != "branch":
        return
    branch = {"repo": repo, "branch": change.short}
    if change.deleted:
        yield "branch.deleted", {**branch, "commit_sha": change.old}
        return
    if change.created:
        yield "branch.created", {**branch, "commit_sha": change.new}
    # A branch created at the tip of another one has no new commits, and therefore no push event.
    if not change.created or moved.distinct_size:
        yield "push", {**branch, "commit_sha": change.new}


# Code Storage --------------------------------------------------------------------------------------------------------


def code_storage(context: ChangeContext, change: Change) -> Events:
    """Yield a ``push`` for a branch with its old and new tip; all zeros if it was created or deleted."""
    if change.kind != "branch":
        return
    identity = context.identity
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
            "pushed_at": context.push.pushed_at,
        },
    )


# Sigmagit ------------------------------------------------------------------------------------------------------------


def sigmagit(context: ChangeContext, change: Change) -> Events:
    """Yield a ``push`` with its commits, then a ``commit`` event for each distinct commit, oldest first."""
    identity, push = context.identity, context.push
    moved = context.history.moved(change)
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
            "commits": newest_within(
                (_sigmagit_commit(commit) for commit, _ in context.history.commits(moved)), max_bytes=MAX_PUSH_BYTES
            ),
            "totalCommits": moved.size,
            "sender": person,
        },
    )
    for commit, distinct in context.history.commits(moved, oldest_first=True):
        if distinct:
            data = {"repository": repository, "ref": change.shown, "commit": _sigmagit_commit(commit), "sender": person}
            yield "commit", data


def _sigmagit_commit(commit: Commit) -> dict[str, Any]:
    return {
        "oid": commit.id,
        "message": commit.message,
        "author": {"name": commit.author.name, "email": commit.author.email},
        "timestamp": commit.committed_at,
    }


SHAPES: dict[str, Callable[[ChangeContext, Change], Events]] = {
    "native": native,
    "coregit": coregit,
    "code-storage": code_storage,
    "sigmagit": sigmagit,
    "social-gateway": social_gateway,
}
