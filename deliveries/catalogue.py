"""The event types HookHub itself knows: one line and an example for each."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventType:
    """One type: its name, what makes it happen, and what its data may look like."""

    type: str
    description: str
    example: object


ZEROS = "0" * 40
COMMIT = "7f3b1c0a9d2e4f5a6b7c8d9e0f1a2b3c4d5e6f70"
REPOSITORY = {"name": "widgets", "full_name": "acme/widgets"}

CATALOGUE = (
    EventType(
        "push",
        "Commits were pushed to a branch or a tag, or a branch or a tag was created or deleted.",
        {"ref": "refs/heads/main", "before": ZEROS, "after": COMMIT, "repository": REPOSITORY, "commits": []},
    ),
    EventType(
        "branch.created", "A branch was created.", {"ref": "feature", "ref_type": "branch", "repository": REPOSITORY}
    ),
    EventType(
        "branch.deleted", "A branch was deleted.", {"ref": "feature", "ref_type": "branch", "repository": REPOSITORY}
    ),
    EventType("tag.created", "A tag was created.", {"ref": "v1.0", "ref_type": "tag", "repository": REPOSITORY}),
    EventType("tag.deleted", "A tag was deleted.", {"ref": "v1.0", "ref_type": "tag", "repository": REPOSITORY}),
    EventType("repo.created", "A repository was created.", {"repository": REPOSITORY}),
    EventType("repo.deleted", "A repository was deleted.", {"repository": REPOSITORY}),
    EventType("ping", "Somebody asked HookHub to try this webhook.", {"message": "HookHub can reach you."}),
    EventType(
        "webhook.disabled",
        "HookHub disabled a webhook of this organization; not part of *, so subscribe to it by name.",
        {"webhook": {"id": "019cb8b8-1e00-753a-a23d-b63dc6d7ef09"}, "reason": "failing", "failure_count": 6},
    ),
)
