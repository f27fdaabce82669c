"""What a person asks the console, read from the form's fields and written back into addresses."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal, NamedTuple
from urllib.parse import urlencode

from service.console.entry import IDENTIFIER_CHARACTERS_MAX, Ending, fold
from service.contracts.outcome import DEAD_STATUSES
from service.contracts.text import DIGITS_MAX, clip

FIELDS = ("code", "begins", "id", "family", "ending", "from", "to", "after")
"""The fields of the form, which are the parameters of an address."""
FIELD_CHARACTERS_MAX = 1000
"""A longer text is truncated: no code, family or identifier that can be found is as long."""
PROBLEMS = "problems"
"""The ending that stands for all that needs somebody: rejected and failed."""
PAGE_HITS = 50
MILLISECONDS = 1000
MINUTE_MS = 60_000
DAY_MS = 86_400_000
ORDER_BITS = 20
TIME_MS_MAX = (1 << 42) - 1
"""The last time that an age can tell, in the year 2109; with the order it fits into 64 bits."""

_AFTER = re.compile(
    rf"(-?\d{{1,{DIGITS_MAX + 1}}})\.(\d{{1,9}})\.(\d{{1,{DIGITS_MAX}}})\.(.*)", re.DOTALL
)
_PARTS_OF_PATH = 2

Kind = Literal["identifier", "exact", "prefix", "browse"]
"""How a search finds: by an identifier, a whole code, the beginning of a code, or none of these."""


class Position(NamedTuple):
    """Where a page ends: the key of its last hit, by which all hits are in ascending order.

    Attributes:
        code: The folded code if the hits are in the order of codes, else empty.
        age: The hit's age as `age_of` returns it, so that newer hits come first.
        segment: The number of the part of the index that has the hit.
        number: The hit's number in its part.
    """

    code: str
    age: int
    segment: int
    number: int


class Query(NamedTuple):
    """A search. Empty texts and None select everything.

    Attributes:
        code: The asset's code, or its beginning if `begins` is set.
        identifier: A value of the event's context, the event's id, or the id of an outcome.
        ending: `problems`, a status, a result or a reason.
        since_ms: Only outcomes written since then (UTC, in milliseconds).
        until_ms: Only outcomes written before then.
        after: Where the page before this one ended.
    """

    code: str = ""
    begins: bool = False
    identifier: str = ""
    family: str = ""
    ending: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    after: Position | None = None

    @property
    def kind(self) -> Kind:
        if self.identifier:
            return "identifier"
        if self.code:
            return "prefix" if self.begins else "exact"
        return "browse"

    @property
    def is_by_code(self) -> bool:
        """Whether the hits are in the order of their codes, rather than newest first."""
        return self.kind == "prefix"

    def takes(self, ending: Ending) -> bool:
        """Return whether outcomes that ended like this are wanted."""
        if self.ending == PROBLEMS:
            return ending.status in DEAD_STATUSES
        return not self.ending or self.ending in ending


class Asked(NamedTuple):
    """A query as it was typed, what was wrong with it, and the texts of the form's fields."""

    query: Query
    problems: tuple[str, ...]
    fields: Mapping[str, str]

    @property
    def is_empty(self) -> bool:
        """Whether nothing was asked, as when the page is opened."""
        return not any(self.fields.values())


def age_of(at_ms: int, offset: int = 0) -> int:
    """Return a number that is lower for what was written later, within a partition too.

    Records of one transaction share their millisecond, so the low bits of the offset follow it.
    """
    within = min(max(0, at_ms), TIME_MS_MAX)
    return -((within << ORDER_BITS) + offset % (1 << ORDER_BITS))


def ms_of(age: int) -> int:
    """Return when something of this age was written (UTC, in milliseconds)."""
    return -age >> ORDER_BITS


def ask(parameters: Mapping[str, str]) -> Asked:
    """Return the query of an address; a field that cannot be read is a problem, and is left out."""
    fields = {name: clip(parameters.get(name, ""), FIELD_CHARACTERS_MAX) for name in FIELDS}
    problems: list[str] = []
    family, code = _asset(fields["family"].strip(), fields["code"].strip())
    since, until = _time(fields["from"], problems), _time(fields["to"], problems)
    after = _position(fields["after"], problems)
    is_prefix = bool(fields["begins"]) or code.endswith("*")
    query = Query(
        code=fold(code.removesuffix("*")),
        begins=is_prefix,
        identifier=fold(clip(fields["id"].strip(), IDENTIFIER_CHARACTERS_MAX)),
        family=family,
        ending=fields["ending"].strip(),
        since_ms=None if since is None else _utc_ms(since),
        until_ms=None if until is None else _utc_ms(until) + _precision_ms(fields["to"]),
        after=after,
    )
    return Asked(query, tuple(problems), fields)


def ask_asset(parameters: Mapping[str, str]) -> Asked:
    """Return the query for the history of one asset, whose code is meant as it is written."""
    asked = ask({name: parameters.get(name, "") for name in ("family", "code", "after")})
    query = asked.query._replace(
        code=fold(asked.fields["code"]), family=asked.fields["family"], begins=False
    )
    return asked._replace(query=query)


def address_of(fields: Mapping[str, str], after: Position | None = None) -> str:
    """Return the parameters of the address of a search, without a page or from this page on."""
    given = {name: text for name, text in fields.items() if text and name != "after"}
    if after is not None:
        given["after"] = f"{after.age}.{after.segment}.{after.number}.{after.code}"
    return urlencode(given, errors="surrogatepass")


def _asset(family: str, code: str) -> tuple[str, str]:
    """Return family and code; a code has no slash, so FAMILY/CODE names both."""
    parts = code.split("/", 1)
    if family or len(parts) < _PARTS_OF_PATH:
        return family, code
    return parts[0], parts[1]


def _time(text: str, problems: list[str]) -> datetime | None:
    """Return the time that is written as a day, or as a day and a time, in UTC if it says none."""
    if not text.strip():
        return None
    try:
        found = datetime.fromisoformat(text.strip())
        return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        problems.append(
            f"“{clip(text, 40)}” is not a day: write it as 2026-11-23, or with a time (UTC) as "
            "2026-11-23 10:15."
        )
        return None


def _precision_ms(text: str) -> int:
    """Return how much the end of a span includes: a whole day, or a minute."""
    return MINUTE_MS if ":" in text else DAY_MS


def _utc_ms(time: datetime) -> int:
    return int(time.timestamp() * MILLISECONDS)


def _position(text: str, problems: list[str]) -> Position | None:
    if not text:
        return None
    found = _AFTER.fullmatch(text)
    if found is None or abs(age := int(found[1])) >= 1 << 63:
        problems.append("The address names no page of results, so these are the first ones.")
        return None
    return Position(found[4], age, int(found[2]), int(found[3]))
