"""How the mapping of an item or a record ends early."""

from service.mapping.results import EndReason, EndStatus


class EarlyEndError(Exception):
    """Ends an item or the record; `MappedSource.map` turns it into an `Ended`."""

    def __init__(self, status: EndStatus, reason: EndReason, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message


class ItemEndedError(EarlyEndError):
    """Ends one item without a change."""


class UnmappableError(ItemEndedError):
    """The item lacks or breaks what the mapping needs."""

    def __init__(self, message: str) -> None:
        super().__init__("rejected", "unmappable", message)


class RecordEndedError(EarlyEndError):
    """Ends the record as a whole, also while one of its items is mapped."""
