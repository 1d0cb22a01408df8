"""The topics with which a webhook can subscribe to an event."""

import pytest

from deliveries.event_types.topics import is_type, topics_of

TOPICS = {
    "one word": ("push", None, ("*", "push")),
    "family and type": ("issues.opened", None, ("*", "issues.opened", "issues")),
    "three words": ("repo.sync.failed", None, ("*", "repo.sync.failed", "repo", "repo.sync")),
    "five words": ("a.b.c.d.e", None, ("*", "a.b.c.d.e", "a", "a.b", "a.b.c", "a.b.c.d")),
    "more words": ("a.b.c.d.e.f.g", None, ("*", "a.b.c.d.e.f.g", "a", "a.b", "a.b.c", "a.b.c.d")),
    "action makes it look like HookHub's own": ("webhook", {"action": "disabled"}, ("*", "webhook")),
    "action may say so elsewhere": ("hook", {"action": "webhook.disabled"}, ("*", "hook", "hook.webhook.disabled")),
    "joined to its action": ("issues", {"action": "opened"}, ("*", "issues", "issues.opened")),
    "already joined, action ignored": ("issues.opened", {"action": "closed"}, ("*", "issues.opened", "issues")),
    "action is no word": ("issues", {"action": "opened by me"}, ("*", "issues")),
    "action is empty": ("issues", {"action": ""}, ("*", "issues")),
    "action is everything": ("issues", {"action": "*"}, ("*", "issues")),
    "action has dots": ("issues", {"action": "a.b"}, ("*", "issues", "issues.a.b")),
    "action is a number": ("issues", {"action": 5}, ("*", "issues")),
    "action is null": ("issues", {"action": None}, ("*", "issues")),
    "action has a newline": ("issues", {"action": "opened\n"}, ("*", "issues")),
    "action too long": ("issues", {"action": "x" * 200}, ("*", "issues")),
    "data is a list": ("issues", ["action"], ("*", "issues")),
    "data is a text": ("issues", "action", ("*", "issues")),
}


@pytest.mark.parametrize(("event_type", "data", "topics"), TOPICS.values(), ids=TOPICS)
def test_an_event_answers_to_everything_its_type_its_family_and_its_action(
    event_type: str, data: object, topics: tuple[str, ...]
) -> None:
    assert topics_of(event_type, data) == topics


GOOD = ["a", "push", "issues.opened", "A-b_c.9", "_", "-", "x" * 200]
BAD = [
    "", ".", "a.", ".a", "a..b", "*", "a.*", "%_", "a b", "a\n", "a\0b", "ü", "x" * 201, "a/b", "a,b", "a'b", 'a"b',
    "a{b}",
]  # fmt: skip


@pytest.mark.parametrize("text", GOOD)
def test_words_joined_by_single_dots_name_a_type(text: str) -> None:
    assert is_type(text)


@pytest.mark.parametrize("text", BAD)
def test_nothing_else_names_a_type(text: str) -> None:
    assert not is_type(text)
