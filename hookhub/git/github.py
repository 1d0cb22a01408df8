"""Builds payloads in GitHub's shape: ``push``, ``create`` and ``delete``."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from typing import Any

from hookhub.git.commits import Commit
from hookhub.git.history import History
from hookhub.git.payloads import Change, Identity, Push
from hookhub.git.size_limits import MAX_PUSH_BYTES, newest_within, size_of, truncate_paths

# The largest integer that JavaScript represents exactly.
MAX_ID = (1 << 53) - 1


def created(history: History, push: Push, identity: Identity, change: Change) -> dict[str, Any]:
    """Return the payload for a created ref."""
    return {
        "ref": change.short,
        "ref_type": change.kind,
        "master_branch": history.default_branch,
        "description": None,
        "pusher_type": "user",
        "repository": repository(identity, default_branch=history.default_branch),
        "sender": sender(push, identity),
    }


def deleted(history: History, push: Push, identity: Identity, change: Change) -> dict[str, Any]:
    """Return the payload for a deleted ref."""
    return {
        "ref": change.short,
        "ref_type": change.kind,
        "pusher_type": "user",
        "repository": repository(identity, default_branch=history.default_branch),
        "sender": sender(push, identity),
    }


def pushed(history: History, push: Push, identity: Identity, change: Change) -> dict[str, Any]:
    """Return the payload for a push to a ref, with its newest commits."""
    moved, page = history.moved(change), identity.html_url
    found = history.head(change, moved)
    head = None if found is None else _commit(found[0], page=page, distinct=found[1])
    newest = (_commit(commit, page=page, distinct=distinct) for commit, distinct in history.commits(moved))
    return {
        "ref": change.shown,
        "before": change.old,
        "after": change.new,
        "created": change.created,
        "deleted": change.deleted,
        "forced": moved.forced,
        "base_ref": history.base_ref(change),
        "compare": f"{page}/compare/{change.old[:12]}...{change.new[:12]}" if page else None,
        "size": moved.size,
        "distinct_size": moved.distinct_size,
        "commits": newest_within(newest, max_bytes=MAX_PUSH_BYTES - (size_of(head) if head else 0)),
        "head_commit": head,
        "repository": repository(identity, default_branch=history.default_branch),
        "pusher": {"name": push.pusher_name, "email": push.pusher_email},
        "sender": sender(push, identity),
    }


def repository(identity: Identity, *, default_branch: str | None) -> dict[str, Any]:
    """Return the repository, with every key that a typed GitHub client requires; null where the host has no value."""
    number = number_of("Repository", identity.name, given=identity.id)
    owner = identity.owner
    return {
        "id": number,
        "node_id": node_id("Repository", number),
        "name": identity.short,
        "full_name": identity.name,
        "owner": {**_user(owner or "", identity, given=None), "name": owner, "login": owner},
        "private": identity.private,
        "html_url": identity.html_url,
        "description": None,
        "fork": False,
        "url": identity.html_url,
        "clone_url": identity.clone_url,
        "default_branch": default_branch,
        "master_branch": default_branch,
    }


def sender(push: Push, identity: Identity) -> dict[str, Any]:
    """Return the pusher as a GitHub user."""
    return _user(push.pusher_name, identity, given=push.pusher_id)


def number_of(kind: str, name: str, *, given: str | None) -> int:
    """Return a numeric id: ``given`` if it is one, or a stable hash of the kind and name."""
    # GitLab's user ids look like "user-7".
    digits = (given or "").rpartition("-")[2] if (given or "").startswith("user-") else given or ""
    if digits.isascii() and digits.isdecimal() and len(digits) < 17 and 0 < int(digits) <= MAX_ID:
        return int(digits)
    digest = hashlib.sha256(f"{kind}\n{name}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % MAX_ID + 1


def node_id(kind: str, number: int) -> str:
    """Return the opaque node id for a numeric id, encoded as GitHub does."""
    return b64encode(f"0{len(kind)}:{kind}{number}".encode()).decode()


def _user(login: str, identity: Identity, *, given: str | None) -> dict[str, Any]:
    number = number_of("User", login, given=given)
    known = {
        "login": login,
        "id": number,
        "node_id": node_id("User", number),
        "gravatar_id": "",
        "type": "User",
        "site_admin": False,
    }
    page = identity.html_url
    if page is None or not login:
        return known
    # As on GitHub, the pages of users are siblings of the repository owner's page.
    site = page.removesuffix(f"/{identity.name}")
    own = f"{site}/{login}"
    lists = ("followers", "following", "gists", "starred", "subscriptions", "repos", "events", "received_events")
    return {
        **known,
        "avatar_url": f"{own}.png",
        "url": own,
        "html_url": own,
        **{f"{name}_url": f"{own}/{name}" for name in lists},
        "organizations_url": f"{own}/orgs",
    }


def _commit(commit: Commit, *, page: str | None, distinct: bool) -> dict[str, Any]:
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
    return truncate_paths({**shown, "truncated": True} if commit.truncated else shown)
