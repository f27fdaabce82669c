"""Dates and times: each becomes `YYYY-MM-DDThh:mm:ss+00:00`."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from service.contracts.text import shown
from service.mapping.endings import UnmappableError
from service.mapping.faults import FaultError, did_you_mean
from service.mapping.numbers import read_number

CHARACTERS_MAX = 100
"""Most characters of a date."""

EPOCH_SECONDS_MAX = 100_000_000_000
"""An epoch number below this counts seconds (until the year 5138), any other milliseconds."""

_MICROSECONDS_OF = {
    "epoch_s": 1_000_000,
    "epoch_ms": 1_000,
    "epoch_us": 1,
    "epoch_days": 86_400_000_000,
}
_MICROSECONDS_PER_SECOND = 1_000_000
_CHARACTERS_TO_THE_SECOND = len("YYYY-MM-DDThh:mm:ss")
_RFC_3339 = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(?:\.[0-9]+)?(?:[Zz]|[+-][0-9]{2}:[0-9]{2})"
)
"""The form of a time that Python could read, which takes many others of ISO 8601 too."""
_ANY_DATE = datetime(2001, 2, 3, tzinfo=UTC)
_NOT_A_DATE = (OSError, OverflowError, ValueError)
"""What Python raises for a date that it cannot read or represent."""
FORMATS = ("iso", *_MICROSECONDS_OF)

Read = Callable[[str], datetime]


def conversion(date_format: str, zone: str) -> Callable[[str], str]:
    """Return a function that converts a date of this format.

    Raise FaultError for an unknown format or zone. What the function gets without an offset is in
    `zone`; it raises UnmappableError for what is not a date.
    """
    read = _reader(date_format)
    local = _zone(zone)
    is_iso = date_format == "iso"

    def convert(text: str) -> str:
        try:
            if len(text) <= CHARACTERS_MAX:
                moment = read(text)
                if is_iso and moment.tzinfo is UTC and _is_usual(text):
                    return f"{text[:_CHARACTERS_TO_THE_SECOND]}+00:00"
                return _in_utc(moment, local)
        except _NOT_A_DATE:
            pass
        raise UnmappableError(f"{shown(text)} is not a date of the format {date_format}")

    return convert


def _is_usual(text: str) -> bool:
    """Return whether a valid time is written like `2026-11-23T07:00:00Z`."""
    return len(text) == _CHARACTERS_TO_THE_SECOND + 1 and text[4:17:3] == "--T::"


def _in_utc(moment: datetime, local: tzinfo) -> str:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=local)
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    return f"{_to_the_second(moment)}+00:00"


def _to_the_second(moment: datetime) -> str:
    """Return the time without its offset, whose text takes Python longer than all the rest."""
    return moment.replace(tzinfo=None).isoformat()[:_CHARACTERS_TO_THE_SECOND]


def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, ZoneInfoNotFoundError):
        raise FaultError(
            f"There is no time zone {shown(name)}: write it like Europe/Berlin."
        ) from None


def _reader(date_format: str) -> Read:
    if date_format == "iso":
        return datetime.fromisoformat  # takes any number of digits after the seconds
    if date_format in _MICROSECONDS_OF:
        return _epoch_reader(_MICROSECONDS_OF[date_format])
    _check_format(date_format)
    return lambda text: datetime.strptime(text, date_format)  # noqa: DTZ007 - `zone` is added


def _epoch_reader(microseconds: int) -> Read:
    """Return a reader of numbers that count units of so many microseconds; fractions are cut."""

    def read(text: str) -> datetime:
        is_usual = text.isdecimal() and text.isascii()
        number = int(text) if is_usual else read_number(text)
        return datetime.fromtimestamp(int(number * microseconds) // _MICROSECONDS_PER_SECOND, UTC)

    return read


def _check_format(date_format: str) -> None:
    if "%" not in date_format:
        raise FaultError(
            f"There is no date format `{date_format}`. {did_you_mean(date_format, FORMATS)}"
        )
    try:
        datetime.strptime(_ANY_DATE.strftime(date_format), date_format)  # noqa: DTZ007 - a trial
    except (ValueError, re.error) as error:
        raise FaultError(f"This is not a format of strptime: {error}.") from None


def event_time(text: str) -> str | None:
    """Return the time of an event in RFC 3339, or None if it is neither that nor an epoch number.

    A text in RFC 3339 stays as it is.
    """
    if not text.isascii() or len(text) > CHARACTERS_MAX:
        return None
    try:
        if not text.isdecimal():
            return text if _is_rfc_3339(text) else None
        number = int(text)
        seconds, milliseconds = (number, 0) if number < EPOCH_SECONDS_MAX else divmod(number, 1000)
        moment = datetime.fromtimestamp(seconds, UTC)
    except _NOT_A_DATE:
        return None
    return f"{_to_the_second(moment)}.{milliseconds:03d}Z"


def _is_rfc_3339(text: str) -> bool:
    """Return whether the text, which Python can read, has the only form of RFC 3339.

    Raise ValueError when Python cannot read it.
    """
    datetime.fromisoformat(text.upper())
    return _RFC_3339.fullmatch(text) is not None
