"""Settings without those of the PIM, and argument types and errors that commands share."""

import asyncio
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Coroutine
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any, NoReturn, TypeVar

import click
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from service.adapters.kafka.errors import describe, network_reason
from service.adapters.kafka.options import last_refusal, producing, quieten_aiokafka
from service.cli.output import complain, is_read
from service.settings import KafkaSettings, Settings, SettingsError, load_without_pim

READER_CHECK_SECONDS = 0.5
"""Seconds between two checks whether a pipe's reader (such as `head`) is still there."""
_Result = TypeVar("_Result")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Utf8(click.ParamType[str]):
    """A text in UTF-8, whatever the encoding of the terminal is."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; what is not UTF-8 is a usage error."""
        try:
            return bytes_of(value).decode()
        except UnicodeDecodeError:
            self.fail(f"{value!r} is not UTF-8", param, ctx)


class AssetPath(Utf8):
    """An asset as `FAMILY/CODE`, the form of record keys and event subjects."""

    name = "FAMILY/CODE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text; any other form, and what is not UTF-8, is a usage error."""
        family, _, code = value.partition("/")
        if not family or not code or "/" in code:
            self.fail(f"{value!r} is not of the form FAMILY/CODE", param, ctx)
        return super().convert(value, param, ctx)


class Since(click.ParamType[int]):
    """A point in time: an age such as `2h`, or an ISO 8601 time (UTC if it has no time zone)."""

    name = "since"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Return the point in time in milliseconds since 1970; 0 for an earlier one."""
        try:
            if ago := re.fullmatch(r"(\d{1,6})([smhd])", value):
                moment = datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
            else:
                moment = datetime.fromisoformat(value)
        except (ValueError, OverflowError):
            self.fail(
                f"{value!r} is neither like 30m, 2h, 7d nor like 2026-11-23T10:00", param, ctx
            )
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return max(0, round(moment.timestamp() * 1000))


def bytes_of(argument: str) -> bytes:
    """Return an argument of the command line in UTF-8.

    Python keeps bytes of an argument that it cannot decode as surrogates: they stay as they are.
    """
    return argument.encode("utf-8", "surrogateescape")


def confirm(question: str) -> None:
    """Ask a person at a terminal; the answer no ends the command with 1.

    Raises:
        click.Abort: the answer is no, or the input ended.
        KeyboardInterrupt: the answer is Ctrl-C.
    """
    try:
        click.confirm(question, abort=True, err=True)
    except click.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise abort.__context__ from None
        raise


def is_asked() -> bool:
    """Return whether a person at a terminal can answer a question."""
    return sys.stdin.isatty()


def settings_without_pim() -> Settings:
    """Load all settings except the PIM's; exit with 2 if they are wrong."""
    quieten_aiokafka(entirely=True)  # the command prints each error itself, once
    try:
        settings = load_without_pim()
        producing(settings.kafka)  # checks its files and its compression before any work starts
        return settings  # noqa: TRY300 - the two lines above belong together
    except SettingsError as error:
        stop(str(error), 2)


def kafka_settings() -> KafkaSettings:
    """Load the Kafka settings; exit with 2 if they are wrong."""
    return settings_without_pim().kafka


async def while_read(showing: Coroutine[Any, Any, None]) -> None:
    """Wait until everything is shown, or until the output no longer has a reader."""
    task = asyncio.create_task(showing)
    while is_read() and not task.done():
        await asyncio.wait((task,), timeout=READER_CHECK_SECONDS)
    if not task.done():
        task.cancel()
    with suppress(asyncio.CancelledError):
        await task


def run_on_kafka(
    kafka: KafkaSettings,
    work: Coroutine[Any, Any, _Result],
    *,
    needs: str,
    when_stopped: str | None = "Stopped.",
) -> _Result:
    """Run the work and return its result; exit with 1 if Kafka fails.

    Args:
        kafka: The settings that the work connects with, for error messages.
        work: The coroutine to run.
        needs: The Kafka permissions of the work, such as "Read on pim.asset-outcomes".
        when_stopped: The message after Ctrl-C; None if there is nothing to say.

    Raises:
        KeyboardInterrupt: Ctrl-C stopped the work.
    """
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        if when_stopped is not None:
            complain(when_stopped)
        raise
    except (KafkaError, OSError) as error:
        stop(f"Kafka at {kafka.bootstrap_servers}: {reason_in_words(kafka, error, needs)}")


def reason_in_words(kafka: KafkaSettings, error: BaseException, needs: str = "it") -> str:
    """Explain why Kafka failed or refused something, and what to do."""
    match error:
        case TopicAuthorizationFailedError():
            who = f"user {kafka.sasl_username}" if kafka.sasl_username else "user of this client"
            return f"access was denied; grant {needs} to the {who}."
        case UnknownTopicOrPartitionError():
            named = " ".join(str(part) for part in error.args) or "of this name"
            return f"there is no topic {named}; create it, or check its name in the settings."
        case KafkaConnectionError() if (refusal := last_refusal()) is not None and (
            why := network_reason(refusal)
        ):
            return f"cannot connect ({why}); check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS."
        case _:
            return describe(error, kafka)


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Treats a redirect as an answer: another host must not get the secrets of a request."""

    def redirect_request(self, *_: object) -> None:
        """Return None, so that the redirect is raised as an HTTPError."""


def direct_opener(*handlers: urllib.request.BaseHandler) -> urllib.request.OpenerDirector:
    """Return an opener that uses no proxy and follows no redirect."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirects(), *handlers)


def why_no_answer(error: Exception) -> str:
    """Return why a request of urllib was not answered, without the names of its exceptions."""
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    words = reason.strerror if isinstance(reason, OSError) else None
    return words or str(reason) or type(reason).__name__


def stop(message: str, code: int = 1) -> NoReturn:
    """Print the message on stderr and exit."""
    complain(message)
    sys.exit(code)
