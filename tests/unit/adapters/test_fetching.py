"""Batches whose bytes are damaged, without a broker: a broker of Apache Kafka takes none."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from service.adapters.kafka.aiokafka_gaps.fetching import _HEADER, _Records, _varint


def test_a_damaged_length_behind_an_odd_name_crashes_nothing() -> None:
    """The careful reader is for the odd name; what is damaged comes without content."""
    odd = b"\x00\x00\x00\x01\x01\x02\x02\xff\x00"  # no key, no value, a header named by 0xff
    damaged = b"\x00\x00\x02" + _varint(1 << 40) + b"k\x01\x00"  # a key of a tebibyte
    records = b"".join(_varint(len(record)) + record for record in (odd, damaged))
    builder = DefaultRecordBatchBuilder(2, 0, False, -1, -1, -1, 1 << 20)  # noqa: FBT003
    for offset in range(2):
        builder.append(offset, 1_000, None, b"", [])
    header = bytes(builder.build())[: _HEADER.size]
    size = len(header) + len(records) - 12
    batch = _Records(header[:8] + size.to_bytes(4, "big") + header[12:] + records).next_batch()

    first, second = batch

    assert (first.offset, first.value) == (0, None)
    assert second.offset == 1
    assert second.value.omission.reason == "invalid_event"
