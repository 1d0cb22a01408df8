"""Slack and Discord: their limits hold for any event, and published text is never interpreted as markup."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deliveries.formats import FORMATS
from deliveries.formats.discord import escape as escape_for_discord
from deliveries.formats.slack import escape as escape_for_slack
from deliveries.formats.text import clean, fit, link_of, units
from tests.golden.messages import (
    GITHUB_PULL_REQUEST,
    GITHUB_PUSH,
    PUSH,
    SIGMAGIT_ISSUE,
    SIGMAGIT_PULL_REQUEST,
    SIGMAGIT_PUSH,
    about,
)


def slack(event_type: str, data: object) -> Any:
    return json.loads(FORMATS["slack"].render(about(event_type, data)).body)


def discord(event_type: str, data: object) -> Any:
    return json.loads(FORMATS["discord"].render(about(event_type, data)).body)


# Limits, as chat.slack and Discord document them ----------------------------------------------------------------------


def check_slack(said: Any) -> None:
    assert 0 < len(said["text"]) <= 4000
    assert len(said["blocks"]) <= 50
    for block in said["blocks"]:
        assert block["type"] == "section"
        assert 0 < units(block["text"]["text"]) <= 3000
    for attachment in said.get("attachments", []):
        assert re.fullmatch("#[0-9a-f]{6}", attachment["color"])
        assert attachment["fallback"]
        assert units(attachment.get("text", "")) <= 3000
        assert len(attachment.get("fields", [])) <= 10
        for field in attachment.get("fields", []):
            assert 0 < units(field["value"]) <= 2000
    for text in texts_in(said):
        assert not re.search(r"<(?!https?://[^<>|]+\|)", text), text
        assert not re.search(r"&(?!amp;|lt;|gt;)", text), text


def check_discord(said: Any) -> None:
    assert said["allowed_mentions"] == {"parse": []}
    [embed] = said["embeds"]
    parts = [embed["title"], embed.get("description", ""), embed["author"]["name"]]
    parts += [text for field in embed.get("fields", []) for text in (field["name"], field["value"])]
    assert 0 < units(embed["title"]) <= 256
    assert 0 < units(embed["author"]["name"]) <= 256
    description = embed.get("description", "x")
    assert 0 < units(description) <= 4096
    if any(character > "\uffff" for character in description):
        assert len(description) <= 2000
    assert len(embed.get("fields", [])) <= 25
    for field in embed.get("fields", []):
        assert 0 < len(field["name"]) <= 256
        assert 0 < units(field["value"]) <= 1024
    assert sum(map(units, parts)) <= 6000
    assert 0 <= embed["color"] <= 0xFFFFFF
    for url in filter(None, (embed.get("url"), embed["author"].get("url"))):
        assert link_of(url) == url
    if "timestamp" in embed:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", embed["timestamp"])


def texts_in(value: Any) -> Iterator[str]:
    """Yield every text that Slack shows, which excludes link targets."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, one in value.items():
            if name != "title_link":
                yield from texts_in(one)
    elif isinstance(value, list):
        for one in value:
            yield from texts_in(one)


SHAPES = {
    "issues.opened": SIGMAGIT_ISSUE,
    "pull_request.merged": SIGMAGIT_PULL_REQUEST,
    "push": SIGMAGIT_PUSH,
    "pull_request": GITHUB_PULL_REQUEST,
    "push.forced": GITHUB_PUSH,
    "repo.sync.failed": {"error": "internal error"},
}
LONG = {
    "letters": "x" * 9000, "emoji": "🎉" * 9000, "markup": "<&>*_`~|[]@\\" * 900, "lines": "- a\n" * 3000,
    "a family": "👩‍👩‍👧‍👦" * 900, "combining": "e\u0301" * 5000,
    "arabic": "س" * 9000, "one word": "a" + " " * 5000 + "b",
}  # fmt: skip


def filled(value: Any, text: str) -> Any:
    """Return the same shape with ``text`` as every string, except in links."""
    if isinstance(value, dict):
        return {name: one if "url" in name else filled(one, text) for name, one in value.items()}
    if isinstance(value, list):
        return [filled(one, text) for one in value] * 30
    return text if isinstance(value, str) else value


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
@pytest.mark.parametrize("event_type", SHAPES)
def test_however_much_was_written_no_limit_is_passed(event_type: str, text: str) -> None:
    data = filled(SHAPES[event_type], text)

    check_slack(slack(event_type, data))
    check_discord(discord(event_type, data))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_whatever_stands_where_a_text_was_meant_a_message_comes_out(data: st.DataObject) -> None:
    event_type = data.draw(st.sampled_from(sorted(SHAPES)))
    shape = json.loads(json.dumps(SHAPES[event_type]))
    for _ in range(3):
        place = shape
        while True:
            name = data.draw(st.sampled_from(sorted(place)))
            if isinstance(place[name], dict) and place[name] and data.draw(st.booleans()):
                place = place[name]
                continue
            place[name] = data.draw(JSON)
            break
    # Unpaired surrogates, too, which JSON can contain.
    message = PUSH._replace(event_type=event_type, payload=json.dumps(shape).encode())

    check_slack(json.loads(FORMATS["slack"].render(message).body))
    check_discord(json.loads(FORMATS["discord"].render(message).body))


HOSTILE_PAYLOADS = {
    "deep": b"[" * 100_000 + b"]" * 100_000, "a number of ten thousand digits": b"9" * 10_000, "1e400": b"1e400",
    "null": b"null", "a text": b'"x"', "an empty text": b'""', "empty array": b"[]", "NUL": b'"\\u0000"',
    "half a pair": b'{"issue":{"title":"\\ud83c"}}', "a mebibyte": b'"' + b"a" * (1 << 20) + b'"',
    "an issue that is none": b'{"issue":[]}', "an issue that is empty": b'{"issue":{}}', "ref only": b'{"ref":"x"}',
    "sizes": b'{"ref":"x","size":-3,"totalCommits":"' + b"9" * 5000 + b'","commits":{}}',
    "size true": b'{"ref":"x","size":true,"commits":[null,1,{"id":7,"message":["x"]}]}',
}  # fmt: skip


@pytest.mark.parametrize("payload", HOSTILE_PAYLOADS.values(), ids=HOSTILE_PAYLOADS)
@pytest.mark.parametrize("event_type", ["push", "issues.opened", "x"])
def test_whatever_was_published_a_message_comes_out(event_type: str, payload: bytes) -> None:
    message = PUSH._replace(event_type=event_type, payload=payload)

    check_slack(json.loads(FORMATS["slack"].render(message).body))
    check_discord(json.loads(FORMATS["discord"].render(message).body))


# The text of messages -------------------------------------------------------------------------------------------------

COMMIT = GITHUB_PUSH["commits"][0]
ZEROS = "0" * 40
HEADLINES: dict[str, tuple[str, dict[str, Any], str]] = {
    "an issue of Sigmagit": ("issues.opened", SIGMAGIT_ISSUE, "issue #7 opened by ada"),
    "an issue without an action": (
        "issues.edited", {**SIGMAGIT_ISSUE, "action": None}, "issue #7 edited by ada",
    ),
    "a comment on an issue": (
        "issue_comment", {**SIGMAGIT_ISSUE, "action": "created"}, "issue #7 issue comment created by ada",
    ),
    "a pull request of Sigmagit": ("pull_request.merged", SIGMAGIT_PULL_REQUEST, "pull request #8 merged by ada"),
    "a pull request of GitHub, merged": ("pull_request", GITHUB_PULL_REQUEST, "pull request #8 merged by ada"),
    "a pull request of GitHub, closed": (
        "pull_request",
        {**GITHUB_PULL_REQUEST, "pull_request": {**GITHUB_PULL_REQUEST["pull_request"], "merged": False}},
        "pull request #8 closed by ada",
    ),
    "a push of Sigmagit": ("push", SIGMAGIT_PUSH, "ada pushed 12 commits to main"),
    "a push of one": ("push", GITHUB_PUSH, "ada pushed 1 commit to main"),
    "a push of none": ("push", {**GITHUB_PUSH, "commits": []}, "ada pushed to main"),
    "a forced push": ("push", {**GITHUB_PUSH, "forced": True}, "ada force-pushed 1 commit to main"),
    "a forced push back": ("push", {**GITHUB_PUSH, "forced": True, "commits": []}, "ada force-pushed main"),
    "a new branch": ("push", {**GITHUB_PUSH, "created": True}, "ada created branch main with 1 commit"),
    "a new branch of Sigmagit": (
        "push", {**SIGMAGIT_PUSH, "before": ZEROS, "commits": [], "totalCommits": 0}, "ada created branch main",
    ),
    "a branch deleted": ("push", {**SIGMAGIT_PUSH, "after": ZEROS}, "ada deleted branch main"),
    "a tag": (
        "push", {**GITHUB_PUSH, "ref": "refs/tags/v1.0", "created": True, "commits": []}, "ada created tag v1.0",
    ),
    "a branch with slashes": ("push", {**GITHUB_PUSH, "ref": "refs/heads/a/b"}, "ada pushed 1 commit to a/b"),
    "nobody": ("push", {"ref": "refs/heads/main"}, "pushed to main"),
    "anything else": ("ticket.created", {"ticket": {"title": "x"}}, "ticket.created"),
    "a push that is none": ("push", {"x": 1}, "push"),
}  # fmt: skip


@pytest.mark.parametrize(("event_type", "data", "headline"), HEADLINES.values(), ids=HEADLINES)
def test_the_headline_says_what_happened(event_type: str, data: dict[str, Any], headline: str) -> None:
    place = "ada/engine" if "repository" in data else "acme/widgets"

    assert slack(event_type, data)["text"].startswith(f"{place}: {headline}")
    embed = discord(event_type, data)["embeds"][0]
    assert embed["title"] == escape_for_discord(headline)
    assert embed["author"]["name"] == place


def test_of_a_long_push_the_newest_ten_commits_are_told_and_how_many_more_there_are() -> None:
    many = [{**COMMIT, "id": f"{n:040x}", "message": f"commit {n}"} for n in range(25)]

    [attachment] = slack("push", {**GITHUB_PUSH, "commits": many, "size": 2500})["attachments"]

    lines = attachment["text"].split("\n")
    assert len(lines) == 11
    assert lines[0].endswith("|0000000> commit 15")
    assert lines[9].endswith("|0000000> commit 24")
    assert lines[10] == "and 2,490 more"


def test_an_event_of_the_organization_names_the_organization() -> None:
    message = about("member.added", {})._replace(repository=None)

    assert json.loads(FORMATS["slack"].render(message).body)["text"] == "acme: member.added"


def test_the_seeds_own_fields_are_where_sigmagits_example_has_them() -> None:
    said = slack("issues.opened", SIGMAGIT_ISSUE)

    assert said["text"].startswith("ada/engine: ")
    [attachment] = said["attachments"]
    assert attachment["title"] == "Carry is lost in &lt;column&gt; 9 &amp; 10 🎉"
    assert attachment["text"].startswith("Steps:\n1. turn")
    embed = discord("issues.opened", SIGMAGIT_ISSUE)["embeds"][0]
    assert {"name": "State", "value": "open", "inline": True} in embed["fields"]
    assert {"name": "Author", "value": "ada", "inline": True} in embed["fields"]
    assert embed["url"] == SIGMAGIT_ISSUE["issue"]["url"]
    assert embed["timestamp"] == "2026-03-04T11:59:00.000Z"


# Escaping and truncation ----------------------------------------------------------------------------------------------

SLACK_ESCAPES = {
    "<!channel> & <@U1>": "&lt;!channel&gt; &amp; &lt;@U1&gt;",
    "&lt;": "&amp;lt;",
    "*bold* _it_ `code` ~no~": "*bold* _it_ `code` ~no~",
}
DISCORD_ESCAPES = {
    "*bold* _it_ `code` ~no~ ||hidden||": r"\*bold\* \_it\_ \`code\` \~no\~ \|\|hidden\|\|",
    "@everyone <@1> <#2> <t:3:R>": r"\@everyone \<\@1> \<#2> \<t:3:R>",
    "[a](https://evil.example)": r"\[a\](https://evil.example)",
    "# head\n- list\n> quote\n+ plus": "\\# head\n\\- list\n\\> quote\n\\+ plus",
    "1. one\n  2) two": "1\\. one\n  2\\) two",
    "a - b # c > d 1. e": "a - b # c > d 1. e",
    "back\\slash": r"back\\slash",
    "https://a.example/x_y_z and_more": r"https://a.example/x_y_z and\_more",
}


@pytest.mark.parametrize(("text", "escaped"), SLACK_ESCAPES.items())
def test_slack_gets_three_characters_escaped_and_no_more(text: str, escaped: str) -> None:
    assert escape_for_slack(text) == escaped


@pytest.mark.parametrize(("text", "escaped"), DISCORD_ESCAPES.items())
def test_discord_gets_its_markdown_escaped(text: str, escaped: str) -> None:
    assert escape_for_discord(text) == escaped


@given(st.text(max_size=60), st.integers(1, 40), st.sampled_from([escape_for_slack, escape_for_discord, str]))
def test_a_cut_breaks_neither_a_character_nor_an_escape(text: str, most: int, escape: Any) -> None:
    found = fit(text, most, escape=escape)

    assert units(found) <= most
    if found != escape(text):
        kept = found.removesuffix("…")
        assert any(kept == escape(text[:length].rstrip()) for length in range(len(text) + 1))


def test_a_cut_counts_characters_and_not_bytes() -> None:
    assert fit("ü" * 10, 10, escape=str) == "ü" * 10
    assert fit("ü" * 11, 10, escape=str) == "ü" * 9 + "…"
    # Where the limit counts UTF-16 units, an emoji counts twice.
    assert fit("🎉" * 5, 10, escape=str) == "🎉" * 5
    assert fit("🎉" * 6, 10, escape=str) == "🎉" * 4 + "…"
    assert fit("&&&", 10, escape=escape_for_slack) == "&amp;…"


LINKS = {
    "https://a.example/b?c=d&e=f": True, "http://a.example": True, "HTTPS://a.example/": True,
    "javascript:alert(1)": False, "ftp://a.example/": False, "//a.example/": False, "a.example": False, "": False,
    "https://a.example/|b": False, "https://a.example/>b": False, "https://a.example/ b": False,
    "https://a.example/(b)": False, "https://[": False, "https://": False, "https://a.example/\n": False,
    "https://a.example/" + "x" * 2000: False,
}  # fmt: skip


@pytest.mark.parametrize(("url", "is_good"), LINKS.items())
def test_only_a_plain_web_address_becomes_a_link(url: str, *, is_good: bool) -> None:
    assert link_of(url) == (url if is_good else "")


@pytest.mark.parametrize("value", [None, 7, [], {}, b"https://a.example/"])
def test_what_is_no_text_becomes_no_link(value: object) -> None:
    assert link_of(value) == ""


def test_what_no_chat_can_show_is_taken_out() -> None:
    assert clean(" a\0b\tc\r\nd\x07\ud83c\u2028 ") == "a b c\nd \ufffd"
