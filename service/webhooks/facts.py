"""Facts about webhooks, for logs and metrics. They decide nothing."""

from typing import ClassVar, Literal

from service.core.facts import Fact
from service.webhooks.delivery import WhyRefused, WhyUnjudged

Answered = Literal["200", "400", "401", "404", "405", "408", "413", "431", "500", "503"]
"""The statuses of an answer. 500 is a bug of asset-sync."""


WhyBusy = Literal["in_flight", "reading", "connections", "draining", "kafka"]
"""Why a request is answered with 503, apart from one that cannot be judged.

in_flight: INGRESS__MAX_IN_FLIGHT requests are being written. reading: too many bytes of incomplete
requests. connections: too many connections. draining: the replica stops. kafka: the record was not
acknowledged in time.
"""


class RequestAnswered(Fact, frozen=True):
    """A request was answered; `source` is empty if no source has its path, or none was read."""

    name: ClassVar[str] = "webhook.answered"
    source: str
    answer: Answered
    seconds: float


class RequestRefused(Fact, frozen=True):
    """A request was answered with 401, because its sender could not be verified."""

    name: ClassVar[str] = "webhook.refused"
    source: str
    why: WhyRefused


class RequestUnjudged(Fact, frozen=True):
    """A request was answered with 503, because a secret or a published key is missing here."""

    name: ClassVar[str] = "webhook.unjudged"
    source: str
    why: WhyUnjudged


class RequestTurnedAway(Fact, frozen=True):
    """A request was answered with 503, because asset-sync or Kafka could not take it."""

    name: ClassVar[str] = "webhook.turned_away"
    source: str
    why: WhyBusy


class SubscriptionConfirmed(Fact, frozen=True):
    """An SNS subscription of this source was confirmed."""

    name: ClassVar[str] = "webhook.subscription_confirmed"
    source: str


class SubscriptionNotConfirmed(Fact, frozen=True):
    """The URL that confirms an SNS subscription could not be fetched; SNS asks again."""

    name: ClassVar[str] = "webhook.subscription_not_confirmed"
    source: str


class KeyFetched(Fact, frozen=True):
    """A published certificate or key was fetched."""

    name: ClassVar[str] = "webhook.key_fetched"
    url: str


class KeyNotFetched(Fact, frozen=True):
    """A published certificate or key could not be fetched; `message` says why."""

    name: ClassVar[str] = "webhook.key_not_fetched"
    url: str
    message: str


class RecordNotWritten(Fact, frozen=True):
    """Kafka did not acknowledge the record of a request."""

    name: ClassVar[str] = "webhook.not_written"
    topic: str
    message: str


class ProducerReplaced(Fact, frozen=True):
    """A new producer took the place of one that could not go on; `message` says why."""

    name: ClassVar[str] = "ingress.producer_replaced"
    message: str
