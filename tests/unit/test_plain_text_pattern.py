"""The pattern in the OpenAPI document says what the code does."""

import re
import sys

from deliveries.plain_text import PATTERN, is_one_line


def test_the_documents_pattern_allows_the_characters_that_a_line_may_have() -> None:
    pattern = re.compile(PATTERN)
    # JSON has no half surrogate pairs.
    letters = [chr(number) for number in range(sys.maxunicode + 1) if not 0xD800 <= number <= 0xDFFF]

    assert [letter for letter in letters if is_one_line(letter) != bool(pattern.fullmatch(letter))] == []
