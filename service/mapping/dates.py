"""Dates and times: each becomes `YYYY-MM-DDThh:mm:ss+00:00`."""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from service.contracts.text import shown
from service.mapping.endings import UnmappableError
from service.mapping.faults import FaultError, did_you_mean
from service.mapping.numbers import read_number

CHARACTERS_MAX = 100
"""Most characters of a date."""

EPOCH_SECONDS_MAX = 100_000_000_000
"""An epoch number below this counts seconds (until the year 5138), any other milliseconds."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECONDS_OF = {
    "epoch_s": 1_000_000,
    "epoch_ms": 1_000,
    "epoch_us": 1,
    "epoch_days": 86_400_000_000,
}
FORMATS = ("iso", *_MICROSECONDS_OF)

Read = Callable[[str], datetime]


def conversion(date_format: str, zone: str) -> Callable[[str], str]:
    """Return a function that converts a date of this format.

    Raise FaultError for an unknown format or zone. What the function gets without an offset is in
    `zone`; it raises UnmappableError for what is not a date.
    """
    read = _reader(date_format)
    local = _zone(zone)

    def convert(text: str) -> str:
        try:
            if len(text) <= CHARACTERS_MAX:
                return _in_utc(read(text), local)
        except (OverflowError, ValueError):
            pass
        raise UnmappableError(f"{shown(text)} is not a date of the format {date_format}")

    return convert


def _in_utc(moment: datetime, local: tzinfo) -> str:
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=local)
    return moment.astimezone(UTC).isoformat(timespec="seconds")


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
    def read(text: str) -> datetime:
        is_usual = text.isdecimal() and text.isascii()
        return _since_epoch(int(text) if is_usual else read_number(text), microseconds)

    return read


def _since_epoch(number: Decimal | int, microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=int(number * microseconds))


def _check_format(date_format: str) -> None:
    if "%" not in date_format:
        raise FaultError(
            f"There is no date format `{date_format}`. {did_you_mean(date_format, FORMATS)}"
        )
    try:
        datetime.strptime(_EPOCH.strftime(date_format), date_format)  # noqa: DTZ007 - a trial
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
        unit = "epoch_s" if number < EPOCH_SECONDS_MAX else "epoch_ms"
        moment = _since_epoch(number, _MICROSECONDS_OF[unit])
    except (OverflowError, ValueError):
        return None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _is_rfc_3339(text: str) -> bool:
    """Return whether the text, which Python can read, has the only form of RFC 3339.

    Raise ValueError when Python cannot read it.
    """
    moment = datetime.fromisoformat(text)
    has_form = text[4::3].startswith("--") and text[10:11] in "Tt " and text[13:17:3] == "::"
    return has_form and moment.tzinfo is not None and (text[-1] in "Zz" or text[-3] == ":")
