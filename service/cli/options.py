"""What several commands need: settings for Kafka alone, and errors in plain words."""

import asyncio
import os
import socket
import ssl
import sys
from collections.abc import Coroutine
from typing import Any, NoReturn, TypeVar

import click
from aiokafka.errors import (
    KafkaConnectionError,
    KafkaError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
)

from service.adapters.kafka.errors import describe
from service.adapters.kafka.options import last_refusal, producing, quieten_aiokafka
from service.cli.output import complain
from service.settings import KafkaSettings, Settings, SettingsError, load_without_pim

_Result = TypeVar("_Result")


class AssetPath(click.ParamType[str]):
    """`FAMILY/CODE`, as keys and subjects have it."""

    name = "FAMILY/CODE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text; a wrong form is an error of use."""
        family, _, code = value.partition("/")
        if not family or not code or "/" in code:
            self.fail(f"{value!r} is not of the form FAMILY/CODE", param, ctx)
        return value


def settings_without_pim() -> Settings:
    """All settings but the PIM's; exits with 2 where they are wrong."""
    quieten_aiokafka(entirely=True)  # errors are said once, by us
    try:
        settings = load_without_pim()
        producing(settings.kafka)  # its files and its compression, before anything begins
        return settings  # noqa: TRY300 - the two lines above belong together
    except SettingsError as error:
        stop(str(error), 2)


def kafka_settings() -> KafkaSettings:
    """The Kafka settings; exits with 2 where they are wrong."""
    return settings_without_pim().kafka


def run_on_kafka(
    kafka: KafkaSettings,
    work: Coroutine[Any, Any, _Result],
    *,
    needs: str,
    when_stopped: str | None = "Stopped.",
) -> _Result:
    """Run the work and return its result; exits with 1 where Kafka fails or Ctrl-C stops it.

    Args:
        kafka: how the work connects.
        work: what to do.
        needs: the rights that it needs, such as "Read on pim.asset-outcomes".
        when_stopped: what to say after Ctrl-C; None if Ctrl-C is the usual end.
    """
    try:
        return asyncio.run(work)
    except KeyboardInterrupt:
        if when_stopped is None:
            sys.exit(0)
        stop(when_stopped)
    except (KafkaError, OSError) as error:
        stop(f"Kafka at {kafka.bootstrap_servers}: {reason_in_words(kafka, error, needs)}")


def reason_in_words(kafka: KafkaSettings, error: BaseException, needs: str = "it") -> str:
    """Why Kafka failed or refused something, and what to do."""
    match error:
        case TopicAuthorizationFailedError():
            who = f"user {kafka.sasl_username}" if kafka.sasl_username else "user of this client"
            return f"access was denied; grant {needs} to the {who}."
        case UnknownTopicOrPartitionError():
            named = " ".join(str(part) for part in error.args)
            return f"there is no topic {named}; create it, or check its name in the settings."
        case KafkaConnectionError() if (why := _network_error()) is not None:
            return f"cannot connect ({why}); check ASSET_SYNC_KAFKA__BOOTSTRAP_SERVERS."
        case _:
            return describe(error, kafka)


def _network_error() -> str | None:
    """Why no broker could be connected to, where that lies below TLS and Kafka."""
    match last_refusal():
        case ssl.SSLError():
            return None
        case socket.gaierror() as error:
            return error.strerror
        case OSError(errno=int(number)):
            return os.strerror(number)
        case _:
            return None


def stop(message: str, code: int = 1) -> NoReturn:
    """End with a plain sentence."""
    complain(message)
    sys.exit(code)
