"""The published schemas are frozen, and hold what the service reads and writes."""

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from cloudevents.core.bindings.kafka import KafkaMessage, from_structured  # noqa: F401
from msgspec import to_builtins

from service.contracts.schema import Language, schema
from service.core.coalesce import Verb
from service.core.job import Job
from service.core.model import Change
from service.core.report import Reporter
from service.core.verdict import Said
from tests.support.builders import cloud, command, decoded, plain

SCHEMAS = Path(__file__).parent / "schemas"
