"""TOML that people write by hand, and that anybody may have written."""

import re
import tomllib
from typing import Any

MOST_PARTS, LONGEST_WORD = 50, 1000
"""Dots in a key, of which TOML's reader takes time with the square of their number; characters of a number or a key,
whose digits Python may refuse to write."""
TEXT = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|#[^\n]*')
TOO_MUCH = re.compile(rf"(?:\.[^.=\],}}\n]*){{{MOST_PARTS}}}\.|\w{{{LONGEST_WORD + 1}}}")


def parse_toml(text: str) -> dict[str, Any]:
    """The document in it. ValueError, with the reason, if it is none, or no hand has written it."""
    if TOO_MUCH.search(TEXT.sub("''", text)):
        raise ValueError(f"a key of more than {MOST_PARTS} parts, or a word of more than {LONGEST_WORD:,} characters")
    try:
        return tomllib.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
