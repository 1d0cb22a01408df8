"""Collects the portal's messages for translation and compiles the translations: `python -m tests.messages`.

It reads what Django itself reads: the translated nodes of compiled templates, and the calls of gettext in the code.
"""

import ast
import io
import re
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import django
from babel.messages.catalog import Catalog
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOT = Path(__file__).parent.parent
TEMPLATES = ROOT / "hookhub" / "templates" / "hookhub"
LOCALES = ROOT / "hookhub" / "locale"
LANGUAGES = ("de",)
CALLS = frozenset({"gettext", "gettext_lazy", "gettext_noop", "ngettext", "ngettext_lazy"})
# A message, or a singular and its plural.
Message = str | tuple[str, str]
BLOCKS = re.compile(r"{% blocktranslate.*?{% endblocktranslate %}|{% comment.*?{% endcomment %}", re.DOTALL)
TAGS = re.compile(r"{%.*?%}|{{.*?}}|{#.*?#}")
# Attributes that a template adds to an element of another one.
ATTRIBUTES = re.compile(r"""\b(id|(data|hx)-[a-z-]+)="[^"]*\"""")
# What a reader sees besides the text between tags.
SEEN = re.compile(r"""\b(?:aria-label|title|alt|placeholder)="([^"{]*)\"""")
MARKUP = re.compile(r"<(style|script|pre|code)\b.*?</\1>|<[^<>]*>|&\w+;", re.DOTALL)
# The comment and the headers of a catalogue that say when and by whom, and differ each time.
VARYING = re.compile(
    rb'\A(#.*\n)+|^"(POT-Creation|PO-Revision|Last-Tr|Language-Team|Generated-By|Report-|Project-).*\n', re.MULTILINE
)
# Names and units that are the same in every language, and code.
SAME = re.compile(
    r"\b(UTC|POST|p50|p95|HookHub|curl|Python|JavaScript|Go|Ruby|PHP|Java|JSON|URL|ms|min|s|h|d|X-Name|[1-5]xx|[a-z]+_[a-z_]+)\b"
)


def main() -> None:
    """Bring each language's catalogue up to date, and compile it."""
    django.setup()
    found = messages()
    for language in LANGUAGES:
        po = catalogue_path(language)
        old, new = catalogue(language), Catalog(locale=language, charset="utf-8", fuzzy=False)
        for message in sorted(found, key=str):
            known = old.get(message if isinstance(message, str) else message[0])
            new.add(message, known.string if known else "")
        po.write_bytes(text_of(new))
        po.with_suffix(".mo").write_bytes(compiled(new))
        print(f"{po.relative_to(ROOT)}: {len(found)} messages, {len(untranslated(new))} without a translation")


def messages() -> set[Message]:
    """Return every message of the portal."""
    return {*of_templates(), *of_code(), *of_tables()}


def portal_templates() -> list[Path]:
    """Return the templates whose text is translated."""
    return [*sorted((TEMPLATES / "portal").rglob("*.html")), TEMPLATES / "attempts_chart.html"]


def of_templates() -> Iterator[Message]:
    """Yield the messages of the templates."""
    from django.templatetags.i18n import BlockTranslateNode, TranslateNode
    from django.utils.translation import trim_whitespace

    for path in portal_templates():
        for node in nodes(path):
            if isinstance(node, TranslateNode):
                yield str(node.filter_expression.var.literal)
            elif isinstance(node, BlockTranslateNode):
                parts = [node.render_token_list(tokens)[0] for tokens in (node.singular, node.plural) if tokens]
                parts = [trim_whitespace(part) if node.trimmed else part for part in parts]
                yield parts[0] if len(parts) == 1 else (parts[0], parts[1])


def nodes(path: Path) -> Iterator[object]:
    """Yield every node of a template, without those that it includes or extends."""
    from django.template.loader import get_template

    template = get_template(str(path.relative_to(TEMPLATES.parent)))
    todo = list(template.template.nodelist)  # type: ignore[attr-defined]
    while todo:
        node = todo.pop()
        yield node
        for name in getattr(node, "child_nodelists", ()):
            todo.extend(getattr(node, name, ()) or ())


def of_code() -> Iterator[Message]:
    """Yield the messages of calls in the code; an argument that is not a literal is a message of a table."""
    for path in sorted((ROOT / "hookhub").rglob("*.py")):
        source = path.read_text()
        if "gettext" not in source:
            continue
        tree = ast.parse(source)
        calls = names_of_calls(tree)
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name) or node.func.id not in calls:
                continue
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            if texts:
                yield (texts[0], texts[1]) if calls[node.func.id].startswith("ngettext") else texts[0]


def names_of_calls(tree: ast.Module) -> dict[str, str]:
    """Return the functions of gettext by the names that a module imports them as, such as ``_``."""
    return {
        alias.asname or alias.name: alias.name
        for node in tree.body
        if isinstance(node, ast.ImportFrom) and node.module == "django.utils.translation"
        for alias in node.names
        if alias.name in CALLS
    }


def of_tables() -> Iterator[str]:
    """Yield the messages that are in tables, and translated when a page shows them."""
    from deliveries.event_types import catalogue
    from deliveries.models import Attempt, Delivery, Webhook
    from deliveries.policy.explanations import sentences
    from deliveries.systems import DEFAULT
    from hookhub.models import AlertChannel, AlertKind
    from hookhub.portal.engine_errors import ERRORS

    yield from sentences()
    yield from ERRORS
    yield from (each.description for each in catalogue.of(DEFAULT).types.values())
    of_deliveries = (Delivery.State, Delivery.FinishReason, Attempt.Outcome, Webhook.DisabledReason)
    for choices in (*of_deliveries, AlertKind, AlertChannel.Type):
        yield from (str(label) for label in choices.labels)


def unmarked(path: Path) -> list[str]:
    """Return the words of a template that are shown and not marked for translation."""
    source = TAGS.sub("", BLOCKS.sub("", path.read_text()))
    text = MARKUP.sub(" ", ATTRIBUTES.sub("", source))
    return re.findall(r"[A-Za-z]{2,}", SAME.sub(" ", " ".join([text, *SEEN.findall(source)])))


def catalogue_path(language: str) -> Path:
    """Return the path of a language's messages."""
    return LOCALES / language / "LC_MESSAGES" / "django.po"


def catalogue(language: str) -> Catalog:
    """Return a language's messages with their translations."""
    path = catalogue_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    return read_po(io.BytesIO(path.read_bytes() if path.exists() else b""), locale=language)


def untranslated(known: Catalog) -> list[object]:
    """Return the messages of a catalogue without a complete translation."""
    return [
        each.id for each in known if each.id and not all([each.string] if isinstance(each.string, str) else each.string)
    ]


def text_of(known: Catalog) -> bytes:
    """Return a catalogue as the text of a .po file, without dates that would differ each time."""
    buffer = io.BytesIO()
    write_po(buffer, known, width=120, omit_header=False, sort_output=True)
    return VARYING.sub(b"", buffer.getvalue())


def compiled(known: Catalog) -> bytes:
    """Return a catalogue as gettext reads it, the same bytes at any time."""
    same = read_po(io.BytesIO(text_of(known)), locale=str(known.locale))
    same.creation_date = same.revision_date = datetime(2026, 1, 1, tzinfo=UTC)
    buffer = io.BytesIO()
    write_mo(buffer, same)
    return buffer.getvalue()


if __name__ == "__main__":
    import os

    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "hookhub.service.settings")
    main()
