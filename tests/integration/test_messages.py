"""Every word of the portal is marked for translation, translated, and compiled."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import messages


@pytest.mark.parametrize("path", messages.portal_templates(), ids=lambda path: path.name)
def test_no_word_of_a_page_is_left_out_of_the_translation(path: Path) -> None:
    assert messages.unmarked(path) == []


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_the_compiled_translation_is_that_of_the_catalogue(language: str) -> None:
    compiled = messages.catalogue_path(language).with_suffix(".mo").read_bytes()
    assert compiled == messages.compiled(messages.catalogue(language))


# Messages whose translation is the original: names, and words that both languages have.
SAME_IN = {
    "de": {
        "Body", "Format", "Logo", "Microsoft Teams", "Name", "Repository", "Schema", "Slack", "Status",
        "Test", "URL", "Webhook", "Webhooks", "in %(span)s", "ok",
    }
}  # fmt: skip
NAMED = re.compile(r"%\(\w+\)[a-z]|{\w+}")


def forms_of(text: str | tuple[str, ...]) -> tuple[str, ...]:
    """Return a message, or its translation, in singular and plural if it has them."""
    return (text,) if isinstance(text, str) else tuple(text)


def pairs(language: str) -> Iterator[tuple[str, str]]:
    """Yield each form of each message with its translation; the singular may be about one without saying so."""
    for message in messages.catalogue(language):
        if message.id:
            yield from zip(forms_of(message.id), forms_of(message.string), strict=True)


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_every_message_is_translated_and_no_other_is_kept(language: str) -> None:
    known = messages.catalogue(language)
    found = messages.messages()

    kept = {message.id if isinstance(message.id, str) else tuple(message.id) for message in known if message.id}
    assert kept == found, "run `make messages`"
    assert messages.untranslated(known) == []


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_translation_has_the_same_names_of_values(language: str) -> None:
    differing = {one: other for one, other in pairs(language) if set(NAMED.findall(one)) != set(NAMED.findall(other))}

    assert differing == {}
    # A percent sign of its own would be read as the beginning of a name.
    assert [other for _, other in pairs(language) if "%(" in other and "%" in NAMED.sub("", other)] == []


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_a_translation_begins_and_ends_as_the_original(language: str) -> None:
    def edges(text: str) -> tuple[str, str]:
        return text[: len(text) - len(text.lstrip())], text[len(text.rstrip()) :]

    assert [one for one, other in pairs(language) if edges(one) != edges(other)] == []
    assert [one for one, other in pairs(language) if one.endswith((".", ":", "…")) and other[-1:] != one[-1:]] == []


@pytest.mark.parametrize("language", messages.LANGUAGES)
def test_only_names_are_the_same_in_a_translation(language: str) -> None:
    assert {one for one, other in pairs(language) if one == other} == SAME_IN[language]


def test_no_message_is_translated_when_a_module_is_imported() -> None:
    early = [
        f"{path.name}: {ast.unparse(call)}"
        for path in sorted((messages.ROOT / "hookhub").rglob("*.py"))
        for call in calls_outside_of_functions(ast.parse(path.read_text()))
    ]
    assert early == []


def calls_outside_of_functions(tree: ast.Module) -> Iterator[ast.Call]:
    """Yield the calls of gettext that are made at once, and so in the language of whatever imports the module."""
    at_once = {name for name, function in messages.names_of_calls(tree).items() if function in {"gettext", "ngettext"}}
    todo: list[ast.AST] = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in at_once:
            yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            todo.extend(ast.iter_child_nodes(node))
