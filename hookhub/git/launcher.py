"""Starts a detached sender for a push that is in the spool."""

from __future__ import annotations

import os
import select
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from hookhub.git import environment as git_environment
from hookhub.git.daemon import MAX_REPORT_BYTES, detach
from hookhub.git.listing import GitFailed, list_branches
from hookhub.git.payloads import Push, as_text
from hookhub.git.settings import NotConfigured, read_settings
from hookhub.git.spool import Spool

# The pusher waits for the listing.
LISTING_TIMEOUT_SECONDS = 5


def start_sender(
    push: Push,
    *,
    path: Path,
    git_dir: Path,
    environment: Mapping[str, str],
    foreground: bool,
    report: Callable[[str], None],
) -> None:
    """Record the tips of all branches and start a detached sender; raise NotConfigured if the settings are incomplete.

    In the foreground, wait up to ``budget_seconds`` for the sender's report.
    """
    spool = Spool(git_dir)
    # Later pushes may move the branches. Without this record the sender uses the tips as they are when it runs.
    with suppress(GitFailed, OSError):
        listing = list_branches(
            git_dir,
            environment=git_environment.for_git(environment, git_dir=git_dir, own=push.git),
            prefix=git_environment.ref_prefix(push.git),
            timeout_seconds=LISTING_TIMEOUT_SECONDS,
        )
        spool.write_refs(path, listing)
    try:
        settings = read_settings(git_dir, environment=environment)
    except NotConfigured as problem:
        spool.record_problem(str(problem))
        raise
    # Repository settings from this push's environment are stored with the push. Remove them from the sender's
    # environment: they do not apply to other pushes in the spool.
    common = {name: value for name, value in environment.items() if name[len("HOOKHUB_") :].lower() not in push.named}
    results = detach(lambda: _drain(git_dir, common, api_key=settings.api_key))
    try:
        if foreground:
            ready, _, _ = select.select([results], [], [], settings.budget_seconds)
            result = as_text(os.read(results, MAX_REPORT_BYTES)) if ready else ""
            report(result or "no response from HookHub yet; the events are queued in the spool")
    finally:
        os.close(results)


def _drain(git_dir: Path, environment: Mapping[str, str], *, api_key: str) -> str:
    # Importing the HTTP modules (http, ssl, email) takes several times as long as everything the pusher waits for.
    from hookhub.git.sending import without_key  # noqa: PLC0415 - as above.
    from hookhub.git.uploader import drain  # noqa: PLC0415 - imported in the detached sender; no pusher waits.

    try:
        return str(drain(git_dir, environment=environment))
    except Exception as bug:  # noqa: BLE001 - recorded in the spool; the process has no streams.
        result = without_key(f"{type(bug).__name__}: {bug}", api_key)
        Spool(git_dir).record_problem(result)
        return result
