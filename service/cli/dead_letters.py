"""The commands `asset-sync dead-letters list`, `show` and `replay`."""

import base64
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from typing import TypeVar

import click
import msgspec
from rich.console import Console
from rich.padding import Padding
from rich.progress import MofNCompleteColumn

from service.adapters.kafka.tools.replay import (
    FoundLetter,
    Plan,
    Replayed,
    Replayer,
    ReplayError,
    find,
    letters_by_time,
    plan,
    replayed_ids,
    survey,
)
from service.apps.sources import read_sources
from service.cli.options import (
    AssetPath,
    Since,
    Utf8,
    confirm,
    is_asked,
    kafka_settings,
    reason_in_words,
    run_on_kafka,
    settings_without_pim,
    stop,
    while_read,
)
from service.cli.output import complain, console, json_text, progress, say, shown
from service.contracts.json_flaw import UNREADABLE
from service.core.settle.dead_letters import DeadLetter, Filter, RecordId, ReplayOptions
from service.core.settle.report import timestamp
from service.settings import KafkaSettings, Settings, SettingsError

_HEX_BYTES_MAX = 4096
"""How many bytes of a value that is not text are printed."""
_HEX_LINE_BYTES = 16
_Command = TypeVar("_Command", bound=Callable[..., None])


class DeadLetterId(click.ParamType[RecordId | str]):
    """An outcome id, or the record id (PARTITION/OFFSET) of a dead letter on its topic."""

    name = "id"

    def convert(
        self, value: RecordId | str, param: click.Parameter | None, ctx: click.Context | None
    ) -> RecordId | str:
        """Return a record id as two numbers, and an outcome id unchanged."""
        assert isinstance(value, str)
        if record_id := re.fullmatch(r"([0-9]{1,9})/([0-9]{1,18})", value):
            return int(record_id[1]), int(record_id[2])
        if not re.fullmatch(r"[^/]+/[0-9]{1,9}/[0-9]{1,18}(#[0-9]{1,4})?", value):
            self.fail(
                f"{value!r} is neither an outcome id (TOPIC/PARTITION/OFFSET) nor a record of "
                "the dead-letter topic (PARTITION/OFFSET)",
                param,
                ctx,
            )
        return value


def _filters(command: _Command) -> _Command:
    """Add the options that select dead letters."""
    options = (
        click.option(
            "--reason",
            type=Utf8(),
            metavar="REASON",
            help="Only this reason, such as unknown_family.",
        ),
        click.option("--family", type=Utf8(), metavar="FAMILY", help="Only assets of this family."),
        click.option("--asset", type=AssetPath(), help="Only this asset."),
        click.option(
            "--since",
            type=Since(),
            metavar="AGO|TIME",
            help="Only dead letters written since then: 30m, 2h or 7d ago, or a time (UTC).",
        ),
    )
    for option in reversed(options):
        command = option(command)
    return command


@click.group(
    "dead-letters",
    epilog="""\b
Examples:
  asset-sync dead-letters list --since 1h
  asset-sync dead-letters show dam.asset-changes/3/1207
  asset-sync dead-letters replay --reason unknown_family --dry-run
""",
)
def dead_letters() -> None:
    """Show changes that were rejected or failed, and replay them."""


@dead_letters.command(
    "list",
    epilog="""\b
Examples:
  asset-sync dead-letters list --since 1h
  asset-sync dead-letters list --family packshots --reason refused_by_pim
  asset-sync dead-letters list --json | jq -r .outcome_id
""",
)
@_filters
@click.option("--all", "with_replayed", is_flag=True, help="Include those that were replayed.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line.")
def list_(
    *,
    reason: str | None,
    family: str | None,
    asset: str | None,
    since: int | None,
    with_replayed: bool,
    as_json: bool,
) -> None:
    """List the dead letters that were not replayed yet, oldest first.

    Each entry has its time, reason, asset, outcome id, state and message. In a pipe or a file,
    each entry is one line.
    """
    kafka = kafka_settings()
    work = _list(
        kafka, Filter(reason, family, asset, since), with_replayed=with_replayed, as_json=as_json
    )
    run_on_kafka(kafka, while_read(work), needs=f"Read on {kafka.dead_letters_topic}")


async def _list(
    kafka: KafkaSettings, wanted: Filter, *, with_replayed: bool, as_json: bool
) -> None:
    """Print the dead letters as they are read: there may be more of them than fit into memory."""
    replayed = await replayed_ids(kafka, wanted)
    count, out = 0, console()
    async with aclosing(letters_by_time(kafka, wanted)) as stream:
        async for letter in stream:
            is_replayed = letter.record_id in replayed
            if is_replayed and not with_replayed:
                continue
            count += 1
            state = _state_of(letter, is_replayed=is_replayed)
            if as_json:
                say(json_text(msgspec.json.encode(_members(letter, state))))
            else:
                _print_letter(out, letter, state)
    if not as_json:
        say(f"{count} dead letter{'' if count == 1 else 's'}")


@dead_letters.command(
    epilog="""\b
Examples:
  asset-sync dead-letters show dam.asset-changes/3/1207
  asset-sync dead-letters show dam.asset-changes/3/1207 --raw > event.json
  asset-sync dead-letters show 0/12 --json | jq .headers
"""
)
@click.argument("letter_id", metavar="ID", type=DeadLetterId())
@click.option("--raw", is_flag=True, help="Write the value's bytes as they are, and nothing else.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def show(*, letter_id: RecordId | str, raw: bool, as_json: bool) -> None:
    """Show one dead letter: its reason, headers, key and value.

    ID is the outcome id that `list` shows (TOPIC/PARTITION/OFFSET), or PARTITION/OFFSET of the
    record on the dead-letter topic.
    """
    if raw and as_json:
        raise click.UsageError("--raw and --json exclude each other.")
    kafka = kafka_settings()
    topic = kafka.dead_letters_topic
    found = run_on_kafka(kafka, find(kafka, letter_id), needs=f"Read on {topic}")
    if found is None:
        named = letter_id if isinstance(letter_id, str) else "{}/{}".format(*letter_id)
        stop(
            f"There is no dead letter {named} on {topic}. "
            "`asset-sync dead-letters list --all` lists the existing ones."
        )
    if found.others:
        record_ids = ", ".join(f"{partition}/{offset}" for partition, offset in found.others)
        complain(f"This outcome id also has older dead letters, at {record_ids}.")
    if raw:
        _write_value(found)
    elif as_json:
        say(json_text(msgspec.json.encode(_whole(found))))
    else:
        for line in _sheet(found, topic):
            say(line)


@dead_letters.command(
    epilog="""\b
Examples:
  asset-sync dead-letters replay --reason unknown_family --dry-run
  asset-sync dead-letters replay --reason unknown_family --family packshots
  asset-sync dead-letters replay --asset packshots/a --include-overtaken
"""
)
@_filters
@click.option(
    "--include-overtaken",
    is_flag=True,
    help="Include a change even if a later change of its asset was applied; it may undo that.",
)
@click.option(
    "--force", is_flag=True, help="Include changes that were already replayed three times."
)
@click.option("--dry-run", is_flag=True, help="Only show what would be replayed.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal before all are replayed.")
def replay(  # noqa: PLR0913 - one for each option
    *,
    reason: str | None,
    family: str | None,
    asset: str | None,
    since: int | None,
    include_overtaken: bool,
    force: bool,
    dry_run: bool,
    yes: bool,
) -> None:
    """Write dead letters back to their topics, and mark them as replayed.

    Without --reason, --family, --asset or --since these are all of them: on a terminal the command
    then asks first.

    Each is written once, unchanged, to its original topic and partition. If a run is interrupted,
    the next run continues it. Dead letters without their value, headers or key are never replayed.

    After creating a family in the PIM, wait 30 seconds: until then the service still rejects its
    changes as unknown_family.

    The exit code is 1 if a dead letter could not be written back.
    """
    settings = settings_without_pim()
    kafka, (raw, read_back) = settings.kafka, _raw_topics(settings)
    topics = raw.union(kafka.events_topic_names)
    rules = ReplayOptions(topics, include_overtaken, force, raw, read_back)
    wanted = Filter(reason, family, asset, since)
    if wanted == Filter() and not yes and not dry_run and is_asked():
        _ask(kafka, rules)
    work = _replay(kafka, wanted, rules, dry_run=dry_run)
    try:
        decided, done = run_on_kafka(
            kafka,
            work,
            needs=_rights_of_replay(kafka, topics, dry_run=dry_run),
            when_stopped="Stopped. Replayed dead letters are marked; the same command continues.",
        )
    except ReplayError as error:
        stop(_why_ended(error, kafka))
    if dry_run:
        out = console()
        for letter in decided.chosen:
            _print_letter(out, letter, "would be replayed")
    action = f"{len(decided.chosen)} would be replayed" if dry_run else f"{done.count} replayed"
    say(action + _left_out(decided))
    for letter, why in done.refused:
        complain(f"{letter.outcome_id}: {why}")
    sys.exit(1 if done.refused else 0)


def _why_ended(error: ReplayError, kafka: KafkaSettings) -> str:
    if error.__cause__ is None:
        return str(error)
    why = reason_in_words(kafka, error.__cause__, "Write on the original topics")
    return (
        f"Kafka at {kafka.bootstrap_servers}: {why}\n{error.count} dead letters were replayed, and "
        "are marked; the same command continues with the others."
    )


def _raw_topics(settings: Settings) -> tuple[frozenset[str], frozenset[str]]:
    """Return the raw topics of the sources file, and those of sources that read back.

    Without a sources file there are none; exit with 2 if the file is wrong.
    """
    if settings.sources_file is None:
        return frozenset(), frozenset()
    try:
        sources = read_sources(settings.sources_file, settings).model.sources.values()
    except SettingsError as error:
        stop(str(error), 2)
    raw = {topic for source in sources for topic in source.topics}
    read_back = {topic for one in sources if one.fetches for topic in one.topics}
    return frozenset(raw), frozenset(read_back)


def _rights_of_replay(kafka: KafkaSettings, topics: Iterable[str], *, dry_run: bool) -> str:
    dead, outcomes = kafka.dead_letters_topic, kafka.outcomes_topic
    reads = f"Read on {dead} and {outcomes}"
    return reads if dry_run else f"{reads}, Write on {', '.join((dead, *sorted(topics)))}"


def _ask(kafka: KafkaSettings, rules: ReplayOptions) -> None:
    """Ask whether to replay all dead letters; exit with 1 if not.

    No event loop runs meanwhile: Ctrl-C would not end it before the answer. No replay has begun
    either, which would end another one that is at work.
    """
    needs = _rights_of_replay(kafka, rules.topics, dry_run=True)
    decided, _ = run_on_kafka(kafka, _replay(kafka, Filter(), rules, dry_run=True), needs=needs)
    if decided.chosen:
        confirm(f"Replay all {len(decided.chosen)} dead letters?")


async def _replay(
    kafka: KafkaSettings, wanted: Filter, rules: ReplayOptions, *, dry_run: bool
) -> tuple[Plan, Replayed]:
    if dry_run:
        return await plan(kafka, await survey(kafka, wanted), rules), Replayed()
    replayer = Replayer(kafka)
    try:
        await replayer.start()
        decided = await plan(kafka, await survey(kafka, wanted), rules)
        with progress("replayed", len(decided.chosen), MofNCompleteColumn()) as update:
            done = await replayer.replay(decided.chosen, _added_up(update))
        return decided, done
    finally:
        await replayer.stop()


def _added_up(update: Callable[[int], None]) -> Callable[[int], None]:
    """Return a callback that takes how many more are done and passes the total to `update`."""
    done = 0

    def add(count: int) -> None:
        nonlocal done
        done += count
        update(done)

    return add


def _left_out(decided: Plan) -> str:
    """Say how many were left out, why, and which option would include them."""
    hints = {
        "overtaken": " (--include-overtaken)",
        "of an unknown asset": " (--include-overtaken)",
        "replayed 3 times": " (--force)",
    }
    counts = Counter(why for _, why in decided.left_out)
    parts = [f"{count} {why}{hints.get(why, '')}" for why, count in sorted(counts.items())]
    return f"; left out: {', '.join(parts)}" if parts else ""


def _state_of(letter: DeadLetter, *, is_replayed: bool) -> str:
    if is_replayed:
        return "replayed"
    if letter.origin is None:
        return "unreadable"
    if letter.lacks is not None:
        return letter.lacks
    return f"replayed {letter.replay_count}x before" if letter.replay_count else "open"


def _members(letter: DeadLetter, state: str) -> dict[str, object]:
    partition, offset = letter.record_id
    return {
        "partition": partition,
        "offset": offset,
        "dead_lettered_at": _time(letter.dead_lettered_utc_ms),
        "outcome_id": letter.outcome_id,
        "asset_family": letter.asset.family if letter.asset else None,
        "code": letter.asset.code if letter.asset else None,
        "reason": letter.reason,
        "message": letter.message,
        "attempts": letter.attempts,
        "replay_count": letter.replay_count,
        "state": state,
    }


def _print_letter(out: Console, letter: DeadLetter, state: str) -> None:
    """Print one line; on a terminal the message goes below, so that no width cuts it off."""
    texts = (_time(letter.dead_lettered_utc_ms), letter.reason, _path(letter), _id(letter), state)
    time, reason, path, letter_id, state_shown = map(shown, texts)
    message = shown(letter.message)
    if out.is_terminal:
        out.print(f"{time}  {reason}  {path}", style="bold")
        for text in (f"{letter_id}  {state_shown}", message):
            out.print(Padding(text, (0, 0, 0, 4)))
    else:
        say(f"{time}  {reason:<14} {path}  {letter_id}  {state_shown}  {message}")


def _sheet(found: FoundLetter, topic: str) -> Iterator[str]:
    """Yield the lines that show one dead letter."""
    letter, record = found.letter, found.record
    partition, offset = letter.record_id
    facts = {
        "dead letter": f"{partition}/{offset} of {topic}",
        "outcome": letter.outcome_id or "-",
        "asset": _path(letter),
        "reason": letter.reason,
        "message": letter.message,
        "attempts": str(letter.attempts),
        "written": _time(letter.dead_lettered_utc_ms),
        "state": _state_of(letter, is_replayed=found.is_replayed),
    }
    for name, text in facts.items():
        yield f"{name:<12} {shown(text)}"
    yield "headers"
    for name, content in record.headers:
        yield f"    {shown(name)}: {_short(content)}"
    yield f"key          {_short(record.key)}"
    size = "null" if record.value is None else f"{len(record.value)} bytes"
    yield f"value        {size}"
    yield from ("    " + line for line in _content(record.value))


def _short(content: bytes | None) -> str:
    """Return a key or a header's value on one line: text, or hexadecimal if it is not UTF-8."""
    if content is None:
        return "null"
    try:
        return shown(content.decode())
    except UnicodeDecodeError:
        return f"0x{content.hex()}"


def _content(value: bytes | None) -> Iterator[str]:
    """Yield a value line by line: indented JSON, other text unchanged, other bytes as hex."""
    try:
        yield from json_text(value or b"", indent=2).split("\n")
    except UNREADABLE:
        pass
    else:
        return
    try:
        text = (value or b"").decode()
    except UnicodeDecodeError:
        yield from _hex_lines(value or b"")
    else:
        yield from map(shown, text.split("\n") if text else ())


def _hex_lines(value: bytes) -> Iterator[str]:
    for start in range(0, min(len(value), _HEX_BYTES_MAX), _HEX_LINE_BYTES):
        piece = value[start : start + _HEX_LINE_BYTES]
        text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "." for byte in piece)
        yield f"{start:08x}  {piece.hex(' '):<47}  {text}"
    if len(value) > _HEX_BYTES_MAX:
        yield f"{len(value) - _HEX_BYTES_MAX} more bytes; --raw writes all"


def _write_value(found: FoundLetter) -> None:
    if found.record.value is None and found.letter.lacks == "without value":
        stop("This dead letter has no value: it was too large for the dead-letter topic.")
    say(found.record.value or b"", ends_line=False)


def _whole(found: FoundLetter) -> dict[str, object]:
    record = found.record
    return _members(found.letter, _state_of(found.letter, is_replayed=found.is_replayed)) | {
        "headers": [{"name": shown(name), **_as_json("value", x)} for name, x in record.headers],
        **_as_json("key", record.key),
        **_as_json("value", record.value),
    }


def _as_json(name: str, content: bytes | None) -> dict[str, str | None]:
    """Return bytes as a JSON member: as text, or as `…_base64` if they are not UTF-8."""
    try:
        return {name: None if content is None else content.decode()}
    except UnicodeDecodeError:
        assert content is not None
        return {f"{name}_base64": base64.b64encode(content).decode()}


def _path(letter: DeadLetter) -> str:
    return letter.asset.path if letter.asset else "-"


def _id(letter: DeadLetter) -> str:
    """Return an id that `show` accepts: the outcome id, or the record id if there is none."""
    return letter.outcome_id or "{}/{}".format(*letter.record_id)


def _time(utc_ms: int) -> str:
    """Return the time as text, or `-`: a producer may have written a number that is not a time."""
    try:
        return timestamp(utc_ms)
    except (ValueError, OverflowError, OSError):
        return "-"
