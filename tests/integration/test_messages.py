"""Every word of the portal is marked for translation, translated, and compiled."""

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
