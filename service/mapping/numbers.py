"""Decimal arithmetic with the numbers of an event: exact, rounded half to even, and bounded."""

import re
from collections.abc import Callable
from decimal import ROUND_HALF_EVEN, Context, Decimal

from service.contracts.text import shown
from service.mapping.endings import UnmappableError

EXPONENT_MAX = 30
"""Numbers from 1e-30 to 1e30 are calculated with; 0 too."""

DIGITS_MAX = 100
"""Most characters of a number."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,6})?")
_EXACT = Context(prec=4 * DIGITS_MAX, rounding=ROUND_HALF_EVEN)


def read_number(text: str) -> Decimal:
    """Return the number; raise UnmappableError if it is not one or out of range."""
    if len(text) > DIGITS_MAX or not _NUMBER.fullmatch(text):
        raise UnmappableError(f"{shown(text)} is not a number")
    number = Decimal(text)
    _check_range(number, text)
    return number


def _check_range(number: Decimal, text: str) -> None:
    if number and abs(number.adjusted()) > EXPONENT_MAX:
        raise UnmappableError(
            f"{shown(text)} is out of range: its exponent must be within {EXPONENT_MAX} of zero"
        )


def calculation(factor: float | None, decimals: int | None) -> Callable[[str], str]:
    """Return a function that multiplies and rounds a number, both where given."""
    exact_factor = Decimal(1) if factor is None else Decimal(repr(factor))
    unit = None if decimals is None else Decimal(1).scaleb(-decimals)

    def calculate(text: str) -> str:
        number = _EXACT.multiply(read_number(text), exact_factor)
        _check_range(number, text)
        if unit is not None:
            number = number.quantize(unit, context=_EXACT)
        elif factor is not None:
            number = number.normalize(_EXACT)
        return format(number or abs(number), "f")

    return calculate
