"""The pattern in the OpenAPI document accepts the same strings as the code."""

import re
import sys

from deliveries.plain_text import PATTERN, is_one_line


def test_the_documents_pattern_allows_the_characters_that_a_line_may_have() -> None:
    pattern = re.compile(PATTERN)
    # Unpaired surrogates are excluded, because they are not valid in JSON.
    letters = [chr(number) for number in range(sys.maxunicode + 1) if not 0xD800 <= number <= 0xDFFF]

    assert [letter for letter in letters if is_one_line(letter) != bool(pattern.fullmatch(letter))] == []
