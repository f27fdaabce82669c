"""One source of `translate`: its state machine, its membership of a group, its watch."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from service.adapters.kafka.subscription import Subscription
from service.adapters.telemetry.logs import LogObserver
from service.adapters.telemetry.progress import SourceProgress
from service.adapters.telemetry.source_report import SourceReport
from service.adapters.telemetry.translate_meters import SourceGauges
from service.apps.member import QUIET_MARGIN_SECONDS, Member
from service.apps.start import contact_watch, traces_of
from service.apps.watch import Watch
from service.core.recover.backoff import Jitter
from service.mapping.file.hosts import Host
from service.mapping.file.load import Loaded as LoadedFile
from service.mapping.file.model import Source
from service.mapping.json_values import decode_fetched
from service.ports import DamHosts, Observer, Observers, clock_seconds
from service.process.shutdown import Shutdown
from service.runtime.read_tasks import ReadTasks
from service.settings import KafkaSettings, Settings
from service.translation.host_reads import RetryLimits
from service.translation.messages import ReadAnswered
from service.translation.reads import ReadPlan, StartRead
from service.translation.report import SourceNames
from service.translation.status import SourceStatus
from service.translation.translator import Ticket, TranslatedSource, Translator

if TYPE_CHECKING:
    from service.adapters.telemetry.traces import Traces

REQUESTS_MAX = 2
"""Most requests of one read: after a 401 it is sent once more."""

REQUESTS_OF_CLIENT_MAX = 6
"""The same with a token of OAuth 2.0, which is asked for in two ways before each."""


class SourceMember:
    """The parts of one source, wired when it is made."""

    def __init__(
        self,
        settings: Settings,
        file: LoadedFile,
        name: str,
        hosts: DamHosts,
        observers_of: Callable[[str], Iterable[Observer]],
        shutdown: Shutdown,
        *,
        sources: Sequence[str],
    ) -> None:
        """Wire the source of this name; the `sources` of the replica share its limits.

        `observers_of` returns those that hear of all sources, for the one of this name.
        """
        source = file.model.sources[name]
        self.kafka = kafka = kafka_of(settings.kafka, name, source)
        self.traces: Traces | None = traces_of(settings.model_copy(update={"kafka": kafka}))
        progress = SourceProgress(time.monotonic(), name)
        observers = Observers(
            *([self.traces] if self.traces else []),
            LogObserver(settings.log.level, source=name),
            progress,
            *observers_of(name),
        )
        self._hosts = hosts_of(source, file.model.hosts)
        self._translator = translator = Translator(
            _translated(settings, file, name),
            read_plan(settings, self._hosts, random.random),
            settings.translation_limits(len(sources)),
        )
        self.member = member = Member[ReadAnswered, StartRead](
            Subscription(kafka, settings.drain.max_seconds),
            translator,
            lambda inbox: ReadTasks(hosts, inbox),
            observers,
            shutdown,
            changes_topic=settings.translate_topic,
            traces=self.traces,
        )
        self.watch = Watch(
            member.runner,
            member.consumer,
            contact_watch(kafka, settings.drain.max_seconds, observers),
            self._report(_quiet_seconds_max(file, name, sources)),
            progress,
            shutdown,
            pending=lambda: translator.pending_records,
        )

    def _report(self, quiet_seconds_max: float) -> SourceReport:
        consumer = self.member.consumer
        return SourceReport(
            self.status, lambda: consumer.lags, consumer.unread_seconds, quiet_seconds_max
        )

    def status(self) -> SourceStatus:
        """Return the open work of the source."""
        return self._translator.status(clock_seconds())

    @property
    def gauges(self) -> SourceGauges:
        """Where its gauges are read."""
        consumer = self.member.consumer
        return SourceGauges(
            self.status,
            lambda: consumer.lags,
            lambda: consumer.behind_transactions,
            consumer.unread_seconds,
            tuple(self._hosts),
        )


def kafka_of(kafka: KafkaSettings, name: str, source: Source) -> KafkaSettings:
    """Return the Kafka settings of a source: a group of its own, and its raw topics as events."""
    return kafka.model_copy(
        update={
            "group_id": f"{kafka.group_id}.translate.{name}",
            "events_topics": ",".join(source.topics),
        }
    )


def _translated(settings: Settings, file: LoadedFile, name: str) -> TranslatedSource:
    names = names_of(settings, name, file.digest)
    return TranslatedSource(file.sources[name], names, settings.translate_topic)


def names_of(settings: Settings, name: str, digest: str) -> SourceNames:
    """Return what the changes and outcomes of a source are named by."""
    return SourceNames(
        source=name,
        file=digest,
        changes_source=f"{settings.default_source}/{name}",
        outcomes_source=f"{settings.limits().outcome_source}/{name}",
    )


def read_plan(settings: Settings, hosts: Mapping[str, Host], jitter: Jitter) -> ReadPlan[Ticket]:
    """Return the plan for the reads from the hosts of a source."""
    retry = settings.retry
    return ReadPlan(
        {name: host.max_concurrency for name, host in hosts.items()},
        RetryLimits(retry.max_attempts, retry.max_seconds),
        decode_fetched,
        jitter,
    )


def hosts_of(source: Source, hosts: Mapping[str, Host]) -> dict[str, Host]:
    """Return the hosts that a source reads back from."""
    return {fetch.host: hosts[fetch.host] for fetch in source.fetches}


def _quiet_seconds_max(file: LoadedFile, name: str, sources: Iterable[str]) -> float:
    """Return how long the source may see nothing happen beside the others of the replica."""
    hosts = {one: hosts_of(file.model.sources[one], file.model.hosts) for one in sources}
    return QUIET_MARGIN_SECONDS + read_seconds_max(hosts[name], hosts.values())


def read_seconds_max(hosts: Mapping[str, Host], hosts_of_sources: Iterable[Iterable[str]]) -> float:
    """Return the longest time for which a source may wait for the next answer of its hosts.

    All sources that read from a host share its limits, so the reads of the others may go first.
    """
    readers = Counter(chain.from_iterable(hosts_of_sources))
    return max((readers[name] * _seconds_of(host) for name, host in hosts.items()), default=0.0)


def _seconds_of(host: Host) -> float:
    """Return the longest time that as many reads take as may be under way at once."""
    is_client = host.auth is not None and host.auth.oauth2 is not None
    requests = REQUESTS_OF_CLIENT_MAX if is_client else REQUESTS_MAX
    return requests * (host.timeout_seconds + host.max_concurrency / host.max_per_second)
