"""What the translators in Python share: an upload as Cloudinary sends it becomes a change.

Written by hand as a careful user would, it gives what the sources file of the bench gives
(`tests/support/sources/example.yaml`), and `benchmarks/peers/translators.py` compares the two.
"""

import json
import os
import re
from typing import Any

BOOTSTRAP = os.environ["PEER_BOOTSTRAP"]
RAW = os.environ["PEER_RAW"]
CHANGES = os.environ["PEER_EVENTS"]
GROUP = os.environ["PEER_GROUP"]
SESSION_TIMEOUT_MS = 6_000
BATCH_EVENTS = 2_000
BATCH_SECONDS = 0.1
CONTENT_TYPE = b"application/cloudevents+json; charset=UTF-8"
FAMILIES = {"packshots": "packshots", "ambient": "ambient", "videos": "videos"}
PREFIX = "https://res.cloudinary.com/demo/"
COLOURS: dict[str, str | list[str]] = {
    "Red": "red",
    "Rot": "red",
    "Purple": "purple",
    "Light Blue": "light_blue",
    "Multi": ["red", "purple"],
}


def change(topic: str, partition: int, offset: int, upload: dict[str, Any]) -> dict[str, Any]:
    """Return the change of an upload as a CloudEvent."""
    family = FAMILIES[upload["asset_folder"].split("/")[0]]
    code = upload["asset_id"]
    name = upload.get("display_name") or upload.get("original_filename") or upload["public_id"]
    values: dict[str, Any] = {
        "label": [{"locale": "en_US", "data": name}],
        "dam_url": upload["secure_url"].removeprefix(PREFIX),
    }
    if colours := upload.get("metadata", {}).get("colours"):
        values["main_colors"] = [COLOURS[colour] for colour in colours]
    values["tags"] = [_slug(tag) for tag in upload["tags"]]
    values["width"] = str(upload["width"])
    values["uploaded_on"] = upload["created_at"].replace("Z", "+00:00")
    return {
        "specversion": "1.0",
        "id": f"{topic}/{partition}/{offset}#0",
        "source": "/translators/cloudinary",
        "type": "asset-sync.asset.upserted.v1",
        "datacontenttype": "application/json",
        "data": {
            "asset_family": family,
            "code": code,
            "context": {"public_id": upload["public_id"], "version": upload["version"]},
            "values": values,
        },
        "subject": f"{family}/{code}",
        "correlationid": upload["request_id"],
    }


def encode(change: dict[str, Any]) -> bytes:
    """Return a change as the value of its record."""
    return json.dumps(change, separators=(",", ":"), ensure_ascii=False).encode()


def _slug(tag: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", tag.lower()).strip("_")
