"""Work grows as its input does: four times the values, four times the lines that are executed.

Lines are counted, not seconds: a loaded machine proves nothing. The real sizes are near 1 MiB.
"""

import sys
from collections.abc import Callable
from types import FrameType

import pytest

from service.core.inputs import Answer, CallReply, ItemReply
from service.core.limits import StructureOptions
from service.core.requests import (
    CreateOption,
    GetAttributes,
    GetOptions,
    Request,
    UpsertAssets,
)
from service.core.values import Attribute
from tests.support.drive import Drive

Tracer = Callable[[FrameType, str, object], "Tracer | None"]

SMALL, LARGE = 300, 1200
GROWTH_MAX = 5.0
"""Four, and what does not grow; a square would be sixteen."""

ATTRIBUTES = (
    Attribute("by_locale", "text", per_locale=True, characters_max=5),
    Attribute("option", "single_option", per_locale=True),
    Attribute("options", "multiple_options"),
    Attribute("number", "number", per_locale=True, least="NaN", most="10"),
)


def entries(count: int, data: object) -> list[dict[str, object]]:
    """So many values of one attribute."""
    return [{"locale": f"l{number}", "channel": None, "data": data} for number in range(count)]


VALUES: dict[str, Callable[[int], object]] = {
    "entries": lambda n: {"by_locale": entries(n, "x")},
    "entries that are numbers": lambda n: {"number": entries(n, 7)},
    "entries too long": lambda n: {"by_locale": entries(n, "too long")},
    "entries above a limit": lambda n: {"number": entries(n, "11")},
    "entries twice": lambda n: {"by_locale": entries(n, 1) + entries(1, 1)},
    "attributes": lambda n: {f"a{number}": "x" for number in range(n)},
    "attributes that are numbers": lambda n: {f"a{number}": number for number in range(n)},
    "attributes of a wrong shape": lambda n: {f"a{number}": {} for number in range(n)},
    "options": lambda n: {"options": [f"o{number}" for number in range(n)]},
    "options of many entries": lambda n: {"option": entries(n, "unknown")},
    "options of another case": lambda n: {"option": entries(n, "KNOWN1")},
    "a list of wrong items": lambda n: {"options": list(range(n))},
}


Pim = Callable[[Request, float], Answer | None]


def well(_count: int) -> Pim:
    """A PIM that takes everything."""
    return lambda _request, _now: None


def strict(count: int) -> Pim:
    """A PIM that tells its attributes, knows as many options, and refuses each write."""
    known = frozenset(f"known{number}" for number in range(count))

    def answer(request: Request, _: float) -> Answer | None:
        match request:
            case GetAttributes():
                return CallReply(200, is_from_pim=True, attributes=ATTRIBUTES)
            case GetOptions():
                return CallReply(200, is_from_pim=True, options=known)
            case UpsertAssets(_, assets):
                items = tuple(ItemReply(one.asset.code, 422, "no") for one in assets)
                return CallReply(200, is_from_pim=True, items=items)
            case _:
                return None

    return answer


def lines_of(work: Callable[[], object]) -> int:
    """Count the lines of the core that this work executes."""
    count = 0

    def line(_frame: FrameType, event: str, _argument: object) -> Tracer:
        nonlocal count
        count += event == "line"
        return line

    def call(frame: FrameType, _event: str, _argument: object) -> Tracer | None:
        return line if "service/core/" in frame.f_code.co_filename else None

    before = sys.gettrace()
    sys.settrace(call)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def drive(events: list[object], answers: Pim) -> Drive:
    """A replica to which these events were written."""
    limits = StructureOptions(create_options=True)
    made = Drive(answers, limits={"structure": limits, "commit_interval_seconds": 0.1})
    for event in events:
        made.event(event)
    return made


def upsert(values: object) -> object:
    """Of one asset."""
    return {"action": "upsert", "asset_family": "packshots", "code": "a", "values": values}


def growth(make: Callable[[int], Drive]) -> float:
    """How many times the work of SMALL that of LARGE takes."""
    small, large = make(SMALL), make(LARGE)
    growth = lines_of(large.run) / lines_of(small.run)
    assert small.is_done
    assert large.is_done
    return growth


@pytest.mark.parametrize("name", VALUES)
@pytest.mark.parametrize("pim", [well, strict])
def test_one_event_of_many_values(name: str, pim: Callable[[int], Pim]) -> None:
    """From its bytes to its outcome, applied or refused, known to the PIM or not."""
    assert growth(lambda n: drive([upsert(VALUES[name](n))], pim(n))) <= GROWTH_MAX


@pytest.mark.slow
@pytest.mark.parametrize("name", ["entries", "attributes", "entries too long", "options"])
@pytest.mark.parametrize("pim", [well, strict])
def test_many_events_merged(name: str, pim: Callable[[int], Pim]) -> None:
    """Merged into one call, and taken apart where the PIM refuses that."""

    def make(count: int) -> Drive:
        values = VALUES[name](count)
        assert isinstance(values, dict)
        parts = [
            {attribute: content[at::20] if isinstance(content, list) else content}
            for attribute, content in values.items()
            for at in (range(20) if isinstance(content, list) else [0])
        ]
        return drive([upsert(part) for part in parts], pim(count))

    assert growth(make) <= GROWTH_MAX


@pytest.mark.parametrize("pim", [well, strict])
def test_many_small_events_of_one_asset(pim: Callable[[int], Pim]) -> None:
    """A thousand in a call at the most."""

    def make(count: int) -> Drive:
        return drive(
            [upsert({"by_locale": entries(3 + number % 7, "x")}) for number in range(count // 4)],
            pim(count),
        )

    assert growth(make) <= GROWTH_MAX


def test_many_options_to_create() -> None:
    """Three are created a second, so that thousands may wait for their turn."""

    def made(count: int) -> Drive:
        codes = [f"o{number}" for number in range(count // 50)]
        options = [f"x{number}" for number in range(50)]

        def pim(request: Request, _: float) -> Answer | None:
            if not isinstance(request, GetAttributes):
                return None
            attributes = tuple(Attribute(code, "multiple_options") for code in codes)
            return CallReply(200, is_from_pim=True, attributes=attributes)

        return drive([upsert(dict.fromkeys(codes, options))], pim)

    small, large = made(SMALL), made(LARGE)
    assert lines_of(lambda: large.run(10)) / lines_of(lambda: small.run(10)) <= GROWTH_MAX
    assert isinstance(large.sent[-1].request, CreateOption)
