"""Batches with damaged bytes, without a broker, as Apache Kafka does not accept them."""

from aiokafka.record.default_records import DefaultRecordBatchBuilder

from service.adapters.kafka.aiokafka_gaps.fetching import _HEADER, _Records, _varint


def test_a_damaged_length_after_a_non_utf8_name_does_not_crash() -> None:
    """The reader in Python reads the name; the damaged record is delivered without content."""
    non_utf8 = b"\x00\x00\x00\x01\x01\x02\x02\xff\x00"  # no key, no value, a header named by 0xff
    damaged = b"\x00\x00\x02" + _varint(1 << 40) + b"k\x01\x00"  # a key of a tebibyte
    records = b"".join(_varint(len(record)) + record for record in (non_utf8, damaged))
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
