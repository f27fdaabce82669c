"""What several commands need: settings for Kafka alone, and errors in plain words."""

import sys
from typing import NoReturn

import click

from service.adapters.kafka.options import producing, quieten_aiokafka
from service.adapters.kafka.rights import in_words
from service.settings import KafkaSettings, SettingsError, load_without_pim


class AssetPath(click.ParamType[str]):
    """`FAMILY/CODE`, as keys and subjects have it."""

    name = "FAMILY/CODE"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text; a wrong form is an error of use."""
        family, _, code = value.partition("/")
        if not family or not code or "/" in code:
            self.fail(f"{value!r} is not of the form FAMILY/CODE", param, ctx)
        return value


def kafka_settings() -> KafkaSettings:
    """The Kafka settings; exits with 2 where they are wrong."""
    quieten_aiokafka(entirely=True)  # errors are said once, by us
    try:
        kafka = load_without_pim().kafka
        producing(kafka)  # its files and its compression, before anything begins
        return kafka  # noqa: TRY300 - the two lines above belong together
    except SettingsError as error:
        stop(str(error), 2)


def stop(message: str, code: int = 1) -> NoReturn:
    """End with a plain sentence."""
    click.echo(message, err=True)
    sys.exit(code)


def stop_without_kafka(kafka: KafkaSettings, error: BaseException) -> NoReturn:
    """End because Kafka failed or refused us, in words."""
    stop(f"Kafka at {kafka.bootstrap_servers} failed: {in_words(error, kafka)}")
