"""Numbers as people write them: decimal points and commas, thousands marks, percent, currencies and units."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

CODES = "USD EUR GBP JPY CHF CAD AUD NZD CNY INR SEK NOK DKK PLN CZK HUF BRL MXN ZAR RUB TRY KRW HKD SGD ILS"
CURRENCY = rf"(?:(?:US|A|C|NZ|HK|S|R)?\$|[€£¥₹₽₩₺₴₦₱฿₫₪]|Rs\.?|kr\.?|zł|Fr\.|{'|'.join(CODES.split())})"
LONGEST = 100
"""Characters of what is looked at as a number or a time: the time that a pattern takes grows with the square of them,
or their cube."""
SPACES = " \u00a0\u2009\u202f"
UNIT = (
    r"""(?= .{1,16}$ | .{1,16}\)$) (?: [^\W\d_] | [%‰°º′″"+$€£¥₹] ) (?: [^()\d.,] | \.(?!\d) | /100 | [23](?!\w) )*"""
)
"""A letter or a sign, and then no other digits than those of "m2", "m3" and "l/100km"."""
NUMBER = re.compile(
    rf"""
    (?P<open>\()?  (?P<sign>[-+−–])?  \s*  (?P<before>{CURRENCY})?  \s*  (?P<sign_after>[-+−–])?  \s*
    (?P<digits> [0-9] (?: [0-9.,'’_{SPACES}]* [0-9] )? [.,]? | [.,][0-9]+ )  (?P<exponent> [eE] [-+−]? [0-9]{{1,3}} )?
    \s*  (?P<after> {UNIT} )?  (?P<close>\))?
    """,
    re.VERBOSE,
)
WHOLE = re.compile(r"-?[0-9]{1,15}")
PLAIN = re.compile(r"[0-9]+\.?[0-9]*|\.[0-9]+")
GROUPED = re.compile(
    rf"[1-9][0-9]{{0,2}}(?P<mark>[,'’_{SPACES}])[0-9]{{3}}(?:(?P=mark)[0-9]{{3}})*(?:\.[0-9]*)?"
    r"|[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}(?:\.[0-9]*)?"  # 12,34,567, as in India
)
MARKS = str.maketrans("", "", f",'’_{SPACES}")
SWAPPED = str.maketrans(",.", ".,")


class Written(NamedTuple):
    """A number as it is written: what it is with a decimal point, what with a decimal comma, and its unit."""

    point: float | None
    comma: float | None
    unit: str = ""


@lru_cache(maxsize=2**16)
def written(cell: Any) -> Written | None:
    """What a cell can be read as; None if it is no number."""
    if isinstance(cell, int | float):
        return Written(float(cell), float(cell)) if np.isfinite(cell) else None
    if isinstance(cell, str) and WHOLE.fullmatch(cell):  # three times as fast as what follows
        return Written(float(cell), float(cell))
    match = NUMBER.fullmatch(cell) if isinstance(cell, str) and len(cell) <= LONGEST else None
    if match is None or bool(match["open"]) != bool(match["close"]):
        return None
    signs = [sign for sign in (match["sign"], match["sign_after"]) if sign]
    if len(signs) + bool(match["open"]) > 1:
        return None
    factor = -1.0 if match["open"] or (signs and signs[0] != "+") else 1.0
    exponent = (match["exponent"] or "").replace("−", "-")
    point = _value(match["digits"], exponent, factor)
    comma = _value(match["digits"].translate(SWAPPED), exponent, factor)
    return None if point is None is comma else Written(point, comma, _unit(match["before"], match["after"]))


def _value(digits: str, exponent: str, factor: float) -> float | None:
    """The digits with a decimal point and commas, spaces or apostrophes between thousands; None if it is not that."""
    if not PLAIN.fullmatch(digits) and (exponent or not GROUPED.fullmatch(digits)):
        return None
    value = factor * float(digits.translate(MARKS) + exponent)
    return value if np.isfinite(value) else None


def _unit(before: str | None, after: str | None) -> str:
    """ "€" for "€ 5" and "5 €"; "year" for "1 year" and "5 years"."""
    unit = " ".join(part.strip() for part in (before, after) if part)
    return unit[:-1] if re.fullmatch(r"[^\W\d_]{2,}s", unit) else unit
