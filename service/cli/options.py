"""What several commands need: settings for Kafka alone, and errors in plain words."""

import logging
import sys
from typing import NoReturn

import click

from service.settings import KafkaSettings, SettingsError, load_kafka


def kafka_settings() -> KafkaSettings:
    """The Kafka settings; exits with 2 where they are wrong."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # errors are said once, by us
    try:
        return load_kafka()
    except SettingsError as error:
        stop(str(error), 2)


def stop(message: str, code: int = 1) -> NoReturn:
    """End with a plain sentence."""
    click.echo(message, err=True)
    sys.exit(code)
