"""Quix Streams: `apply` makes a change of each upload, at least once or, if asked, exactly once."""

import sys
from typing import Any

from quixstreams import Application, message_context
from uploads import (
    BATCH_SECONDS,
    BOOTSTRAP,
    CHANGES,
    CONTENT_TYPE,
    GROUP,
    RAW,
    SESSION_TIMEOUT_MS,
    change,
)

app = Application(
    broker_address=BOOTSTRAP,
    consumer_group=GROUP,
    auto_offset_reset="earliest",
    commit_interval=BATCH_SECONDS,
    processing_guarantee=sys.argv[1],
    auto_create_topics=False,
    consumer_extra_config={"session.timeout.ms": SESSION_TIMEOUT_MS},
)


def translate(upload: dict[str, Any]) -> dict[str, Any]:
    """Return the change of an upload."""
    at = message_context()
    return change(at.topic, at.partition, at.offset, upload)


stream = app.dataframe(app.topic(RAW, value_deserializer="json"))
stream = stream.apply(translate)
stream = stream.set_headers(lambda *_: [("content-type", CONTENT_TYPE)])
changes = app.topic(CHANGES, key_serializer="bytes", value_serializer="json")
stream.to_topic(changes, key=lambda one: one["subject"].encode())
app.run()
