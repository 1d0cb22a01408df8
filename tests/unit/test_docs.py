"""The documents and the code agree."""

import re
from pathlib import Path

import pytest

from deliveries.formats import FORMATS
from hookhub.dialects import DIALECTS
from hookhub.procfile import ROOT, commands

SETTINGS = (ROOT / "docs" / "settings.md").read_text()
COMMANDS = (ROOT / "docs" / "commands.md").read_text()
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MAX_LINE, MAX_CELL = 120, 130


def name_of(document: Path) -> str:
    return str(document.relative_to(ROOT))


def test_every_setting_is_explained_and_none_that_is_not_there() -> None:
    settings = (ROOT / "hookhub" / "service" / "settings.py").read_text() + (
        ROOT / "hookhub" / "embedded" / "home.py"
    ).read_text()
    read = set(
        re.findall(r'"((?:HOOKHUB_[A-Z_]+)|DATABASE_URL|REDIS_URL)"|\'(HOOKHUB_STATEMENT_TIMEOUT_MS)\'', settings)
    )
    names = {name for pair in read for name in pair if name}
    explained = set(re.findall(r"^\| `((?:HOOKHUB_[A-Z_]+)|DATABASE_URL|REDIS_URL)` \|", SETTINGS, re.MULTILINE))

    assert names == explained


@pytest.mark.parametrize("package", ["deliveries", "hookhub"])
def test_the_map_of_a_package_names_each_of_its_modules(package: str) -> None:
    named = set(re.findall(r"``(\w+)``", (ROOT / package / "__init__.py").read_text()))
    modules = {file.stem for file in (ROOT / package).glob("*.py")}
    packages = {file.parent.name for file in (ROOT / package).glob("*/__init__.py")}

    # Django's own, and what Python imports first.
    assert (modules | packages) - {"__init__", "__main__", "apps", "migrations"} <= named


def test_every_command_is_listed() -> None:
    files = [file for app in ("deliveries", "hookhub") for file in ROOT.glob(f"{app}/**/management/commands/*.py")]

    for file in files:
        if file.stem != "__init__":
            assert f"`{file.stem}" in COMMANDS, file.stem


def slugs(page: str) -> set[str]:
    """Return the anchors of a page's headings, as git hosts and the site make them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", page, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", heading.lower()).strip()) for heading in headings}


def test_links_between_the_documents_lead_somewhere() -> None:
    for document in DOCUMENTS:
        page = document.read_text()
        for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)#?([^)\s]*)\)", page):
            file = document.parent / target if target else document
            assert file.exists(), f"{document.name}: {target}"
            # The site has the folder docs/ and nothing else.
            is_on_site = document.is_relative_to(ROOT / "docs")
            assert not is_on_site or file.resolve().is_relative_to(ROOT / "docs"), f"{document.name}: {target}"
            assert not anchor or anchor in slugs(file.read_text()), f"{document.name}: {target}#{anchor}"


def test_the_compose_file_starts_what_the_procfile_names() -> None:
    compose = (ROOT / "docker-compose.yml").read_text()
    started = set(re.findall(r'"manage.py", "run", "(\w+)"', compose))

    assert started == set(commands())
    assert Path(ROOT / "docs" / "example.env").exists()


def test_every_test_that_the_table_of_compatibility_names_is_there() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "compatibility.md").read_text())

    assert len(named) >= 5
    for file, test in named:
        assert (ROOT / file).is_file(), file
        if test:
            assert f"def {test}(" in (ROOT / file).read_text(), f"{file}::{test}"


def test_every_dialect_has_a_row_in_the_table_of_compatibility() -> None:
    rows = [line for line in (ROOT / "docs" / "compatibility.md").read_text().splitlines() if line.startswith("| [")]
    linked = {found[1] for line in rows if (found := re.match(r"\| \[[^]]+\]\(dialects/([a-z-]+)\.md\)", line))}

    assert linked >= set(DIALECTS)
    # A column for the system, and six others.
    assert {line.count("|") for line in rows} == {8}


def test_the_readme_counts_the_wire_formats() -> None:
    counted = dict(enumerate(("thirteen", "fourteen", "fifteen", "sixteen"), start=13))

    assert f"{counted[len(FORMATS)]} wire formats" in (ROOT / "README.md").read_text()


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    listed = re.findall(r"- ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in ROOT.glob("docs/**/*.md")]

    assert sorted(listed) == sorted(pages)


# What a reader is told to create.
NOT_YET = {"deliveries/formats/gitea.py", "tests/golden/gitea/"}
PATH = re.compile(r"(?<![\w./-])(?:bench|chaos|config|deliveries|deploy|docs|hookhub|testbed|tests)/[\w./-]*[\w/]")


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    # Pages of other sites and tables of files in other folders have such words, too.
    text = re.sub(r"\]\([^)]*\)|https?://\S+|[\w/]*<\w+>\S*", "", document.read_text())
    named = set(PATH.findall(text)) - NOT_YET

    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_lines_wrap_and_cells_of_tables_are_phrases(document: Path) -> None:
    too_long = []
    for line in re.sub(r"^```.*?^```$", "", document.read_text(), flags=re.DOTALL | re.MULTILINE).splitlines():
        if line.startswith("|"):
            # What a link leads to is not read.
            cells = re.sub(r"\]\([^)]*\)", "]", line).strip("|").split("|")
            too_long += [cell for cell in cells if len(cell.strip()) > MAX_CELL]
        elif len(line) > MAX_LINE and "tests/" not in line:
            too_long.append(line)

    assert too_long == []
