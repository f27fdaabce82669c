"""Whoever creates the topic of dead letters gives it what `asset-sync topics create` gives it."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.adapters.kafka.tools import create_topics
from service.settings import KafkaSettings
from tests.chart.test_chart import CHART, run
from tests.support.strict_yaml import read, read_all

ROOT = Path(__file__).resolve().parent.parent.parent
EVERYTHING = CHART / "ci" / "everything-values.yaml"
TOPIC = "pim.asset-dead-letters"


def wanted(**settings: str) -> dict[str, str]:
    """The configuration of the topic by the program's own command."""
    kafka = KafkaSettings.model_validate({"dead_letters_topic": TOPIC, **settings})
    return create_topics.configs_of(kafka, ())[TOPIC]


def configs_of(commands: str) -> Iterator[dict[str, str]]:
    """The configuration in each call of `kafka-topics.sh` that creates the topic."""
    usual = {"cleanup.policy": "delete"}  # of the brokers
    for line in commands.splitlines():
        if "--create" in line and f"--topic {TOPIC}" in line:
            yield usual | dict(re.findall(r"--config (\S+?)=(\S+)", line))


def test_the_commands_of_the_starter() -> None:
    text = (ROOT / "service" / "starter" / "README.md").read_text()
    assert list(configs_of(text)) == [wanted()]


def test_the_commands_of_the_compose_file() -> None:
    """As the shell runs them, with another program in place of Kafka's."""
    topics = read((ROOT / "deploy" / "compose.yaml").read_text())["services"]["topics"]
    (script,) = topics["command"]
    script = script.replace("$$", "$").replace("/opt/kafka/bin/kafka-topics.sh", "echo")
    done = subprocess.run(  # noqa: S603 - a file of this project
        [*topics["entrypoint"], script], capture_output=True, text=True, check=True
    )
    assert list(configs_of(done.stdout)) == [wanted()]
    created = re.findall(r"--topic (\S+)", done.stdout)
    assert created == ["dam.asset-changes", "dam.hooks", "pim.asset-outcomes", TOPIC]


@pytest.mark.chart
@pytest.mark.parametrize("size", ["1MiB", "4MiB", "300KiB"])
def test_the_topic_of_the_chart(size: str) -> None:
    """For every size of records."""
    rendered = run(
        "helm", "template", "it", ".", "--values", str(EVERYTHING), "--kube-version", "1.34.0",
        "--set", f"settings.KAFKA__MAX_RECORD_BYTES={size},strimzi.topics.config=null",
        "--show-only", "templates/kafkatopics.yaml",
    )  # fmt: skip
    found = {one["spec"]["topicName"]: one["spec"]["config"] for one in read_all(rendered)}
    assert found[TOPIC] == wanted(max_record_bytes=size)
