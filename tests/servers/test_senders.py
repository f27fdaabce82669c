"""`asset-sync ingress` takes what Svix and Cloudinary sign with their own code."""

import asyncio
import base64
import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.ingress import IngressUnderTest, headers_of

pytestmark = [pytest.mark.kafka, pytest.mark.processes, pytest.mark.servers]

ROOT = Path(__file__).resolve().parent.parent.parent
PYTHON = ROOT / ".cache" / "senders" / "bin" / "python"
SEND = Path(__file__).parent / "senders" / "send.py"

OLD, NEW, OTHER = (
    f"whsec_{base64.b64encode(name * 8).decode()}" for name in (b"old", b"new", b"?")
)
"""Secrets in Svix' form, which Cloudinary takes as any text."""


@dataclass(frozen=True)
class Sending:
    """A body signed with a secret, and what becomes of it."""

    secret: str
    body: str
    status: int
    is_changed: bool = False
    """Whether the body is changed on its way."""


SENDINGS = [
    Sending(OLD, '{"id": "a1", "colour": "é"}', 200),
    Sending(NEW, '{ "id": "a2",\n"price": 1.50 }', 200),
    Sending(OTHER, '{"id": "a3"}', 401),
    Sending(NEW, '{"id": "a4"}', 401, is_changed=True),
]
"""In the midst of a rotation: the DAM signs with the old secret or the new one."""


async def statuses(sender: str, url: str) -> list[int]:
    """Return the answers to all `SENDINGS`."""
    webhooks = [
        {
            "sender": sender,
            "url": url,
            "secret": one.secret,
            "signed": one.body,
            "sent": one.body.replace('"a', '"b') if one.is_changed else one.body,
        }
        for one in SENDINGS
    ]
    process = await asyncio.create_subprocess_exec(
        PYTHON, SEND, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    written, _ = await process.communicate(json.dumps(webhooks).encode())
    assert process.returncode == 0
    found: list[int] = json.loads(written)
    return found


@pytest.mark.parametrize("sender", ["svix", "standard", "cloudinary-sha1", "cloudinary-sha256"])
async def test_what_a_sender_signs_is_a_record(sender: str, bootstrap: str, tmp_path: Path) -> None:
    """Both secrets of a rotation hold; another secret and a changed body are refused."""
    if not PYTHON.exists():
        pytest.skip("the senders are not installed: tests/servers/senders/setup does it")
    scheme = "cloudinary" if sender.startswith("cloudinary") else "standard"
    ingress = IngressUnderTest(
        bootstrap,
        tmp_path,
        verify={scheme: {"secret": ["old_secret", "new_secret"]}},
        secrets={"old_secret": OLD, "new_secret": NEW},
    )
    await ingress.create_topics()
    ingress.start()
    try:
        found = await statuses(sender, await ingress.url() + "/hooks")
    finally:
        ingress.end()
    assert found == [one.status for one in SENDINGS]
    records = await ingress.records(ingress.topic)
    accepted = {one.body for one in SENDINGS if one.status == 200}
    assert {record.value.decode() for record in records} == accepted
    assert len(records) == len(accepted)
    for record in records:
        headers = headers_of(record)
        assert headers["ingress.verified"].decode() == scheme
        assert not {name for name in headers if "signature" in name}
