"""Sends webhooks as Svix and Cloudinary do, signed by the code that they publish.

Standard input has a JSON list of `Webhook`; standard output gets the list of the statuses.
"""

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import TypedDict

import cloudinary
import cloudinary.utils
import urllib3
from svix.webhooks import Webhook as SvixWebhook


class Webhook(TypedDict):
    """One request to send."""

    sender: str
    """A name in `SENDERS`."""
    url: str
    secret: str
    signed: str
    """The body that the signature is made for."""
    sent: str
    """The body that is sent."""


def svix(prefix: str, body: str, secret: str) -> dict[str, str]:
    """Return the headers of Svix, whose names begin with the prefix."""
    moment = datetime.now(UTC)
    headers = {
        f"{prefix}-id": "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W",
        f"{prefix}-timestamp": str(int(moment.timestamp())),
        f"{prefix}-signature": SvixWebhook(secret).sign(
            "msg_2KWPBgLlAfxdpx2AI54pPJ85f4W", moment, body
        ),
    }
    SvixWebhook(secret).verify(body, headers)
    return headers


def cloudinary_account(algorithm: str, body: str, secret: str) -> dict[str, str]:
    """Return the headers of a Cloudinary account that signs with this hash function."""
    cloudinary.config(api_secret=secret, signature_algorithm=algorithm)
    timestamp = str(int(time.time()))
    signature = cloudinary.utils.compute_hex_hash(f"{body}{timestamp}{secret}", algorithm)
    assert cloudinary.utils.verify_notification_signature(body, timestamp, signature)
    return {"X-Cld-Timestamp": timestamp, "X-Cld-Signature": signature}


SENDERS: dict[str, Callable[[str, str], dict[str, str]]] = {
    "svix": partial(svix, "svix"),
    "standard": partial(svix, "webhook"),
    "cloudinary-sha1": partial(cloudinary_account, "sha1"),
    "cloudinary-sha256": partial(cloudinary_account, "sha256"),
}
"""Returns the headers for a body and a secret, by the name of the sender."""


def send(webhook: Webhook) -> int:
    """Return the status that the request was answered with."""
    headers = SENDERS[webhook["sender"]](webhook["signed"], webhook["secret"])
    headers["Content-Type"] = "application/json"
    return urllib3.request("POST", webhook["url"], body=webhook["sent"], headers=headers).status


if __name__ == "__main__":
    json.dump([send(webhook) for webhook in json.load(sys.stdin)], sys.stdout)
