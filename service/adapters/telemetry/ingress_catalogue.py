"""All metrics of `asset-sync ingress`. Its sources are those of the sources file with a webhook."""

from typing import get_args

from service.adapters.telemetry.catalogue import BY_NAME, Metric
from service.webhooks.delivery import WhyRefused, WhyUnjudged
from service.webhooks.facts import Answered, WhyBusy

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0)
_SOURCE: tuple[str, ...] = ()

INGRESS_CATALOGUE = (
    Metric(
        "ingress_requests",
        "counter",
        "requests",
        "Webhooks by source and answer. Source is empty where the path belongs to none, or the "
        "request was never complete.",
        {"source": _SOURCE, "answer": get_args(Answered)},
    ),
    Metric(
        "ingress_request_duration_seconds",
        "histogram",
        "seconds",
        "Time from the first byte of a webhook that was answered with 200 to its answer.",
        buckets=_SECONDS,
    ),
    Metric(
        "ingress_refused",
        "counter",
        "requests",
        "Webhooks answered with 401, by why their sender could not be verified.",
        {"source": _SOURCE, "why": get_args(WhyRefused)},
    ),
    Metric(
        "ingress_unjudged",
        "counter",
        "requests",
        "Webhooks answered with 503 because a secret cannot be read, or the key of Amazon or Adobe "
        "cannot be fetched.",
        {"source": _SOURCE, "why": get_args(WhyUnjudged)},
    ),
    Metric(
        "ingress_turned_away",
        "counter",
        "requests",
        "Webhooks answered with 503 because of a limit, the end of the replica, or Kafka.",
        {"why": get_args(WhyBusy)},
    ),
    Metric(
        "ingress_keys_fetched",
        "counter",
        "fetches",
        "Fetches of certificates, keys and subscription confirmations of Amazon and Adobe.",
        {"result": ("fetched", "failed")},
    ),
    Metric(
        "ingress_producers_replaced",
        "counter",
        "times",
        "Times that a new Kafka producer took the place of one that could not go on.",
    ),
    Metric("ingress_connections", "gauge", "connections", "Open connections on the webhook port."),
    Metric(
        "ingress_in_flight",
        "gauge",
        "requests",
        "Webhooks that wait for Kafka, and records that Kafka has not settled although their "
        "senders were answered with 503.",
    ),
    Metric(
        "ingress_in_flight_limit",
        "gauge",
        "requests",
        "Webhooks in flight above which further ones are answered with 503 "
        "(INGRESS__MAX_IN_FLIGHT).",
    ),
    Metric("ingress_reading_bytes", "gauge", "bytes", "Bytes of bodies that are not complete yet."),
    Metric("ingress_kafka_reachable", "gauge", "0 or 1", "1 while a broker answers."),
    BY_NAME["observer_errors"],
    BY_NAME["build"],
)

INGRESS_BY_NAME = {metric.name: metric for metric in INGRESS_CATALOGUE}
