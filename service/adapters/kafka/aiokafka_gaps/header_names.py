"""Read header names that are not UTF-8, and write them again byte for byte.

Kafka's protocol specifies UTF-8 for header names, but no broker checks it. aiokafka 0.14 raises
each time it fetches a record with another name, so one such record would block its partition for
ever. `fetching` then reads its part of the batch again by `read_carefully`, which decodes the name
with surrogate escapes. aiokafka's batch builder in C refuses such names too, so their records are
written by its builder in Python.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint_py

from service.contracts.text import is_encodable

ESCAPES = "surrogateescape"


class NonUtf8Name(str):
    """A header name that is not UTF-8; it encodes to the bytes from which it was decoded."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = ESCAPES) -> bytes:  # noqa: ARG002
        return str.encode(self, "utf-8", ESCAPES)


def read_carefully(batch: bytes | memoryview) -> Iterator[Any]:
    """Return the records of an uncompressed batch, with header names of any bytes."""
    return iter(_CarefulBatch(batch))


def has_non_utf8_name(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether any header name is not UTF-8."""
    return NonUtf8Name in {type(name) for name, _ in headers}


def batch_with_non_utf8_names(producer: AIOKafkaProducer) -> BatchBuilder:
    """Return an empty batch that accepts names that are not UTF-8, built in Python."""
    builder = producer.create_batch()
    builder.__class__ = _PythonBatchBuilder
    manager = producer._txn_manager  # noqa: SLF001 - no public way
    builder._builder = _DefaultRecordBatchBuilderPy(  # noqa: SLF001
        magic=2,
        compression_type=0,
        is_transactional=manager is not None and manager.transactional_id is not None,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=0,
        batch_size=1 << 30,
    )
    return builder


class _PythonBatchBuilder(BatchBuilder):  # type: ignore[misc]
    """Omits the assertion of the library that its builder is the one in C."""

    def _set_producer_state(self, *state: int) -> None:
        self._builder.set_producer_state(*state)


class _CarefulBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """The library's reader in Python, on bytes that always decode."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _Lenient(self._buffer)

    def _read_msg(self) -> Any:  # noqa: ANN401 - aiokafka's
        # The reader of varints in C ignores the end of the buffer: a damaged length crashes it.
        return super()._read_msg(decode_varint_py)


class _Lenient(bytearray):
    """Bytes that raise IndexError for a slice behind their end, rather than to shorten it."""

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - an index or a slice
        if isinstance(at, slice) and at.stop > len(self):
            raise IndexError("A record ends too early.")
        found = super().__getitem__(at)
        return _Piece(found) if isinstance(at, slice) else found


class _Piece(bytes):
    """Bytes that decode to text, or to a `NonUtf8Name`."""

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        text = bytes.decode(self, "utf-8", ESCAPES)
        return text if text.isascii() or is_encodable(text) else NonUtf8Name(text)
