"""Convert an `AssetChange` into a command for the PIM or a `Rejection`."""

from itertools import chain

from service.core.flaws import Flaws, sentence
from service.core.limits import Deletes
from service.core.long_form import LongForm
from service.core.model import (
    AssetChange,
    Command,
    DeleteAsset,
    Rejection,
    UpsertAsset,
)
from service.core.read.memory_estimate import may_grow
from service.core.read.value_forms import read_values
from service.core.values import MediaFile

ENTRY_OVERHEAD_BYTES = 40
"""Bytes of JSON around one entry: `{"locale":null,"channel":null,"data":},` and its name."""


def convert(
    change: AssetChange, deletes: Deletes = "apply", long_form: LongForm | None = None
) -> Command | Rejection:
    """Return the command for this change, or why there is none.

    `long_form` is that of the change's family, if its structure is known. Values of a usual size
    stay JSON until they are sent, so that pending changes take little memory.
    """
    if change.action == "delete":
        if deletes == "skip":
            return Rejection(
                status="skipped",
                reason="deletes_off",
                message="Deletes are switched off (ASSET_SYNC_DELETES=skip).",
                action="delete",
                asset=change.asset,
                event=change.event,
                extensions=change.extensions,
            )
        return DeleteAsset(change.asset)
    assert change.values is not None
    if long_form is not None and (raw := long_form.of(change.values)) is not None:
        size = len(raw) + len(change.asset.code) + ENTRY_OVERHEAD_BYTES
        return UpsertAsset(change.asset, raw, size, long_form)
    values = read_values(change.values)
    if isinstance(values, Flaws):
        return _invalid(change, values)
    size = len(change.values) + len(change.asset.code) + ENTRY_OVERHEAD_BYTES * (1 + len(values))
    has_files = any(type(value.data) is MediaFile for value in chain(*values.values()))
    stays_json = not has_files and not may_grow(change.values)
    return UpsertAsset(
        change.asset, change.values if stays_json else values, size, has_files=has_files
    )


def _invalid(change: AssetChange, flaws: Flaws) -> Rejection:
    return Rejection(
        status="rejected",
        reason="invalid_event",
        message=sentence(flaws.first, flaws.count),
        errors=tuple(flaws.first),
        action=change.action,
        asset=change.asset,
        event=change.event,
        extensions=change.extensions,
    )
