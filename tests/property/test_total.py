"""Decode and convert are total; the offset map comes back as it went."""

from hypothesis import given
from hypothesis import strategies as st

from service.core.model import Binding, Command, Rejection
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.settle import offset_map
from tests.support.builders import LIMITS, STRUCTURED, record

headers = st.lists(
    st.tuples(
        st.sampled_from(["ce_id", "ce_type", "ce_source", "ce_specversion", "content-type", "x"]),
        st.none() | st.binary(max_size=20) | st.sampled_from([b"1.0", b"asset.updated"]),
    ),
    max_size=6,
).map(tuple)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["locale", "data", "values", "code", "x"]), inner)
    ),
    max_leaves=8,
)


def has_codes(end: Command | Rejection) -> bool:
    """Return whether an invalid event names each of its errors by a code and a place."""
    if not isinstance(end, Rejection) or end.reason != "invalid_event":
        return True
    return bool(end.errors) and all(error.code and error.path for error in end.errors)


@given(st.none() | st.binary(), st.none() | st.binary(), headers)
def test_arbitrary_bytes_never_raise(
    value: bytes | None, key: bytes | None, given_headers: tuple[tuple[str, bytes | None], ...]
) -> None:
    """Whatever the record, the answer is a value."""
    found = decode(record(value, key, given_headers), LIMITS)
    end = found if isinstance(found, Rejection) else convert(found)
    assert has_codes(end)


@given(json_values, json_values, st.sampled_from(["upsert", "delete"]), st.booleans())
def test_arbitrary_values_never_raise(
    values: object,
    context: object,
    action: str,
    structured: bool,  # noqa: FBT001
) -> None:
    """Valid JSON of any shape where values are expected."""
    data = {"asset_family": "f", "code": "c", "values": values, "context": context}
    event: dict[str, object] = {"action": action, **data}
    if structured:
        kind = "asset.updated" if action == "upsert" else "asset.deleted"
        event = {"specversion": "1.0", "id": "1", "source": "s", "type": kind, "data": data}
    found = decode(record(event, headers=(STRUCTURED,) if structured else ()), LIMITS)
    end = found if isinstance(found, Rejection) else convert(found)
    assert has_codes(end)


@given(st.integers(0, 2**50), st.frozensets(st.integers(0, 24_000), max_size=200))
def test_the_offset_map_comes_back(watermark: int, places: frozenset[int]) -> None:
    """And fits into the broker's 4,096 characters."""
    settled = frozenset(watermark + at for at in places)
    binding = Binding("cluster/group/topic/12", "t" * 22)
    metadata = offset_map.encode(watermark, offset_map.bitmap(watermark, settled), binding)

    assert offset_map.decode(watermark, metadata, binding) == settled
    assert len(metadata) <= 4096
