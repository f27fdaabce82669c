"""What the events of a source become, line by line, for `asset-sync convert --source`."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO, NoReturn

from service.cli.lines import InputError, Line, above_limit, judge, lines_while_shown
from service.cli.options import stop
from service.cli.output import json_text, say
from service.core.limits import DecodeLimits
from service.core.model import Rejection, UpsertAsset
from service.core.read.value_forms import taken_apart
from service.mapping.explain import Explanation, explain
from service.mapping.file.load import Loaded
from service.mapping.json_values import encode
from service.mapping.results import Change, Ended, MappedSource, Part, RawRecord

Members = dict[str, object]


@dataclass(slots=True)
class _Asset:
    """The spellings of an asset, and the identities that share it, each with its first line."""

    spellings: dict[str, None] = field(default_factory=dict)
    identities: dict[str, int] = field(default_factory=dict)


def convert_mapped(file: BinaryIO, loaded: Loaded, source: str, limits: DecodeLimits) -> NoReturn:
    """Print what each event becomes as one JSON object a change; exit with 1 if one is rejected."""
    bases = {name: host.base for name, host in loaded.model.hosts.items()}
    is_all_accepted = True
    for line, record in _records(file, loaded, source):
        for part in _parts(line, record, loaded.sources[source], limits):
            members = _members(part, bases, limits)
            is_all_accepted = is_all_accepted and members.get("status") != "rejected"
            say(json_text(encode({"line": line.number, "part": part.part} | members)))
    sys.exit(0 if is_all_accepted else 1)


def _parts(
    line: Line, record: RawRecord, source: MappedSource, limits: DecodeLimits
) -> tuple[Part, ...]:
    """Return what the event becomes; `translate` does not map one that is too large."""
    if (rejection := above_limit(line, limits)) is not None:
        return (Ended(None, "rejected", "too_large", rejection.message),)
    return source.map(record).parts


def print_collisions(file: BinaryIO, loaded: Loaded, source: str) -> NoReturn:
    """Print each asset that several identities of the DAM share; exit with 1 if there are any.

    An identity is what the source's `identity` gives, or else what the asset's code is made of.
    """
    assets: dict[str, _Asset] = {}
    for line, record in _records(file, loaded, source):
        own = loaded.sources[source].identity(record)
        for explained in explain(loaded, source, record, None):
            if isinstance(explained.part, Change):
                path = f"{explained.part.family}/{explained.part.code}"
                asset = assets.setdefault(path.casefold(), _Asset())
                asset.spellings[path] = None
                asset.identities.setdefault(own or _origin_of_code(explained), line.number)
    shared = [asset for asset in assets.values() if len(asset.identities) > 1]
    for asset in shared:
        members = {"assets": list(asset.spellings), "identities": asset.identities}
        say(json_text(encode(members)))
    sys.exit(1 if shared else 0)


def _origin_of_code(explained: Explanation) -> str:
    found = next(row.found for row in explained.rows if row.label == "code")
    return found if isinstance(found, str) else json_text(encode(found))


def _records(file: BinaryIO, loaded: Loaded, source: str) -> Iterator[tuple[Line, RawRecord]]:
    topic = loaded.model.sources[source].topics[0]
    try:
        for line in lines_while_shown(file):
            yield line, RawRecord(topic, 0, line.number - 1, None, line.text)
    except InputError as error:
        stop(str(error))


def _members(part: Part, bases: dict[str, str], limits: DecodeLimits) -> Members:
    """Return what `convert` shows of a part: a change is judged as `run` would judge it."""
    if isinstance(part, Ended):
        return {"status": part.status, "reason": part.reason, "message": part.message}
    if not isinstance(part, Change):
        return {"fetch": f"{bases[part.host]}{part.url}"}
    data = {"action": part.action, "asset_family": part.family, "code": part.code}
    more = {"values": part.values, "context": part.context}
    plain = encode(data | {name: given for name, given in more.items() if given is not None})
    command = judge(Line(1, plain), limits).command
    if isinstance(command, Rejection):
        return {"status": command.status, "reason": command.reason, "message": command.message}
    values = {"values": taken_apart(command.values)} if isinstance(command, UpsertAsset) else {}
    return {**data, **values, "rule": part.rule}
