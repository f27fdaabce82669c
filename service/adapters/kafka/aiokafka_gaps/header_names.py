"""Header names that are no UTF-8: read, and written again byte for byte.

Kafka's protocol wants them in UTF-8 and no broker checks it. aiokafka 0.14 raises on such a
record each time that it is fetched: one would block its partition for ever. `fetching` reads its
part of the batch once more by `read_carefully`, and the name is text with surrogate escapes. A
second trap of the same kind, writing, is passed by the library's builder in Python.
"""

from collections.abc import Iterable, Iterator
from typing import Any

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.record.default_records import _DefaultRecordBatchBuilderPy, _DefaultRecordBatchPy
from aiokafka.record.util import decode_varint_py

ESCAPES = "surrogateescape"


class OddName(str):
    """A header name that is no UTF-8; it encodes to the bytes that it came from."""

    __slots__ = ()

    def encode(self, encoding: str = "utf-8", errors: str = ESCAPES) -> bytes:  # noqa: ARG002
        """The bytes."""
        return str.encode(self, "utf-8", ESCAPES)


def read_carefully(batch: bytes | memoryview) -> Iterator[Any]:
    """The records of a batch that is not compressed, whatever their headers are called."""
    return iter(_CarefulBatch(batch))


def has_non_utf8_name(headers: Iterable[tuple[str, bytes | None]]) -> bool:
    """Whether any name is one."""
    return OddName in {type(name) for name, _ in headers}


def batch_with_non_utf8_names(producer: AIOKafkaProducer) -> BatchBuilder:
    """An empty batch that takes such names: the library's quick builder takes none."""
    builder = producer.create_batch()
    builder.__class__ = _OddBatchBuilder
    manager = producer._txn_manager  # noqa: SLF001 - the library's parts are this file's business
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


class _OddBatchBuilder(BatchBuilder):  # type: ignore[misc]
    """The library's own asserts that its builder is the quick one."""

    def _set_producer_state(self, *state: int) -> None:
        self._builder.set_producer_state(*state)


class _CarefulBatch(_DefaultRecordBatchPy):  # type: ignore[misc]
    """The library's reader in Python, on bytes that decode whatever they are."""

    def _maybe_uncompress(self) -> None:
        super()._maybe_uncompress()
        self._buffer: Any = _Lenient(self._buffer)

    def _read_msg(self) -> Any:  # noqa: ANN401 - aiokafka's
        # The quick number reader does not look where the buffer ends: a damaged length crashes it.
        return super()._read_msg(decode_varint_py)


class _Lenient(bytearray):
    """Bytes whose slices end within them: the library's reader would take a part for the whole."""

    def __getitem__(self, at: Any) -> Any:  # noqa: ANN401 - an index or a slice
        if isinstance(at, slice) and at.stop > len(self):
            raise IndexError("A record ends too early.")
        found = super().__getitem__(at)
        return _Piece(found) if isinstance(at, slice) else found


class _Piece(bytes):
    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:  # noqa: ARG002
        text = bytes.decode(self, "utf-8", ESCAPES)
        return text if text.isascii() or _is_encodable(text) else OddName(text)


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
