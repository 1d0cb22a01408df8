"""Human-readable summaries of events, read from payloads in Sigmagit's or GitHub's shape, or from any other JSON."""

import json
from typing import Any, NamedTuple

from deliveries.formats.base import Message
from deliveries.formats.json_access import at, first, joined, listed, login_of, page_of, source_of, text_at, text_of
from deliveries.formats.text import clean, link_of

MAX_LINES = 10
NEUTRAL = 0x5A6472
COLOURS = {
    "opened": 0x2EB67D, "reopened": 0x2EB67D, "edited": 0xECB22E, "merged": 0x8250DF, "closed": 0xE01E5A,
    "deleted": 0xE01E5A, "forced": 0xECB22E, "pushed": 0x36C5F0, "created": 0x2EB67D,
}  # fmt: skip


class Line(NamedTuple):
    """One commit: its short id, the URL of its page, and the first line of its message."""

    label: str
    url: str
    text: str


class Summary(NamedTuple):
    """A summary of an event. Texts are not escaped and may be long or empty. URLs are http(s) or empty."""

    source: str
    source_url: str
    headline: str
    title: str = ""
    url: str = ""
    text: str = ""
    lines: tuple[Line, ...] = ()
    fields: tuple[tuple[str, str], ...] = ()
    colour: int = NEUTRAL
    happened_at: str = ""


def summarise(message: Message) -> Summary:
    """Return a summary of a message; a payload of no known shape becomes the text, as JSON."""
    try:
        data = json.loads(message.payload)
        if message.event_type.partition(".")[0] == "push" and text_at(data, "ref"):
            return _push(data, message)
        for key, noun in (("pullRequest", "pull request"), ("pull_request", "pull request"), ("issue", "issue")):
            if isinstance(at(data, key), dict):
                return _thread(data, data[key], noun=noun, message=message)
        shown = json.dumps(data, ensure_ascii=False)
    # A number with thousands of digits, or nesting deeper than Python's recursion limit.
    except (ValueError, RecursionError):
        data, shown = None, message.payload.decode(errors="replace")
    return Summary(*source_of(data, message), message.event_type, text=clean(shown))


def _thread(data: Any, thread: dict[str, Any], *, noun: str, message: Message) -> Summary:
    """Return the summary of an event about an issue or a pull request, or a comment or review in one."""
    family, _, rest = message.event_type.partition(".")
    is_merged = thread.get("merged") is True
    action = first(text_at(data, "action"), rest)
    action = "merged" if action == "closed" and is_merged else action
    # If a comment was created, the issue was not.
    is_itself = family in {"issues", "issue", "pull_request"}
    done = action if is_itself else joined(" ", family, action)
    number, sender = text_at(thread, "number"), login_of(at(data, "sender"))
    subject = next((data[key] for key in ("comment", "review") if isinstance(at(data, key), dict)), thread)
    base, head = (first(text_at(thread, f"{end}Branch"), text_at(thread, end, "ref")) for end in ("base", "head"))
    fields = {
        "State": "merged" if is_merged else text_at(thread, "state"),
        "Author": first(login_of(thread.get("author")), login_of(thread.get("user"))),
        "Branches": f"{head} → {base}" if base and head else "",
        "Labels": joined(", ", *(first(text_at(one, "name"), text_of(one)) for one in listed(at(thread, "labels")))),
        "Assignees": joined(", ", *map(login_of, listed(at(thread, "assignees")))),
    }
    return Summary(
        *source_of(data, message),
        headline=joined(" ", noun, number and f"#{number}", done.replace("_", " "), sender and f"by {sender}"),
        title=text_at(thread, "title"),
        url=first(page_of(subject), page_of(thread)),
        text=text_at(subject, "body"),
        fields=tuple((name, value) for name, value in fields.items() if value),
        colour=COLOURS.get(action, NEUTRAL) if is_itself else NEUTRAL,
        happened_at=first(text_at(thread, "createdAt"), text_at(thread, "created_at")),
    )


def _push(data: Any, message: Message) -> Summary:
    """Return the summary of a push: what it did to which branch or tag, and its newest commits."""
    ref, before, after = (text_at(data, name) for name in ("ref", "before", "after"))
    kind, name = ("tag", ref[10:]) if ref.startswith("refs/tags/") else ("branch", ref.removeprefix("refs/heads/"))
    commits = [commit for commit in listed(at(data, "commits")) if isinstance(commit, dict)]
    # The payload of a long push lists only the newest commits, and their total number.
    totals = [text_at(data, key) for key in ("totalCommits", "size")]
    count = max(len(commits), *(int(text) for text in totals if text.isascii() and text.isdigit()), 0)
    many = f"{count:,} commit{'' if count == 1 else 's'}"
    if at(data, "deleted") is True or (after and not after.strip("0")):
        action, done = "deleted", f"deleted {kind} {name}"
    elif at(data, "created") is True or (before and not before.strip("0")):
        action, done = "created", f"created {kind} {name}" + (f" with {many}" if count else "")
    elif at(data, "forced") is True:
        action, done = "forced", f"force-pushed {many} to {name}" if count else f"force-pushed {name}"
    else:
        action, done = "pushed", f"pushed {many} to {name}" if count else f"pushed to {name}"
    pusher = first(login_of(at(data, "pusher")), login_of(at(data, "sender")))
    lines = tuple(
        Line(first(text_at(one, "oid"), text_at(one, "id"))[:7], page_of(one), text_at(one, "message").split("\n")[0])
        for one in commits[-MAX_LINES:]
    )
    return Summary(
        *source_of(data, message),
        headline=f"{pusher} {done}" if pusher else done,
        url=link_of(at(data, "compare")),
        text=f"and {count - len(lines):,} more" if 0 < len(lines) < count else "",
        lines=lines,
        colour=COLOURS[action],
    )
