"""Bytes that nobody meant: from a corpus of the shapes that DAMs write, bent at random.

The corpus is ours, in the shapes of ten kinds of producers: most are no events of the contract,
and each must get a plain answer.
"""

import asyncio
import contextlib
import json
import random
from pathlib import Path

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.akeneo.api import HttpAssetApi
from service.adapters.akeneo.wire import read_answer
from service.contracts.outcome import OUTCOME_BYTES_MAX
from service.core.inputs import CallFault, CallReply
from service.core.model import Rejection
from service.core.read.convert import convert
from service.core.read.decode import decode
from service.core.requests import GetAttributes, GetFamilies, GetOptions
from service.core.settle import offset_map
from service.core.settle.report import Reporter
from service.playground.pim.server import serve
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import sample
from service.settings import Credentials, PimSettings, SettingsError, load, variables
from tests.support.builders import LIMITS, STRUCTURED, record

CORPUS = [path.read_bytes() for path in sorted((Path(__file__).parent / "corpus").glob("*.json"))]
REPLIES = [
    json.dumps(found).encode()
    for found in (
        [{"code": "a", "status_code": 201}, {"code": "b", "status_code": 422, "message": "no",
          "errors": [{"property": "values.x", "message": "wrong", "locale": None}]}],
        {"code": 404, "message": "Asset family does not exist.", "_links": {}},
        [{"code": "colors", "type": "multiple_options", "max_value": "9"}],
        [{"code": "red", "labels": {"en_US": "Red"}}],
    )
]  # fmt: skip
TOKENS = (b"null", b"[]", b"{}", b"-1e999", b"\\ud800", b'"', b"\x00", b"\xff", b"[" * 2000, b",")


@st.composite
def bent(draw: st.DrawFn, corpus: list[bytes]) -> bytes:
    """One of the corpus with up to four injuries."""
    text = bytearray(draw(st.sampled_from(corpus)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(text)))
        match draw(st.sampled_from(["cut", "double", "insert", "flip"])):
            case "cut":
                del text[at : at + draw(st.integers(1, 40))]
            case "double":
                text[at:at] = text[at : at + draw(st.integers(1, 200))]
            case "insert":
                text[at:at] = draw(st.sampled_from(TOKENS))
            case _:
                if at < len(text):
                    text[at] ^= 1 << draw(st.integers(0, 7))
    return bytes(text)


@pytest.mark.slow
@settings(max_examples=600)
@given(bent(CORPUS), st.booleans(), st.none() | st.binary(max_size=12))
def test_any_event_gets_one_plain_answer(value: bytes, structured: bool, key: bytes | None) -> None:  # noqa: FBT001 - either
    """A command, or an outcome within its limits that says what is wrong."""
    source = record(value, key, (STRUCTURED,) if structured else ())
    change = decode(source, LIMITS)
    command = change if isinstance(change, Rejection) else convert(change)
    if isinstance(command, Rejection):
        completed = Reporter("/asset-sync/test").of_rejection(source, command, 0)
        assert completed.outcome.value is not None
        assert len(completed.outcome.value) <= OUTCOME_BYTES_MAX
        assert json.loads(completed.outcome.value)["data"]["message"]


def test_producers_of_other_shapes_are_told_what_is_missing() -> None:
    """As they come, none of the foreign ones is taken for an event of ours."""
    for path in sorted((Path(__file__).parent / "corpus").glob("*.json")):
        for headers in ((), (STRUCTURED,)):
            change = decode(record(path.read_bytes(), None, headers), LIMITS)
            is_ours = (path.stem, bool(headers)) in {("plain", False), ("cloud", True)}
            assert isinstance(change, Rejection) is not is_ours, path.stem


@settings(max_examples=400)
@given(bent(REPLIES), st.sampled_from([200, 207, 404, 422, 429, 500, 99]))
def test_any_reply_is_read(body: bytes, status: int) -> None:
    """Whatever a PIM, or a proxy before it, sends."""
    headers = {"retry-after": body[:20].decode("latin-1")}
    for request in (GetFamilies(), GetAttributes("f"), GetOptions("f", "a")):
        assert read_answer(request, status, headers, body).status == status


@given(st.integers(0, 2**62), st.text(max_size=60) | st.text("as1:+/=ABCz09", max_size=60))
def test_any_metadata_is_a_map_or_no_map(watermark: int, metadata: str) -> None:
    """Never taken for empty, never a crash."""
    with contextlib.suppress(offset_map.OffsetMapError):
        assert all(offset >= watermark for offset in offset_map.decode(watermark, metadata))


NAMES = [name for name, _, _ in variables()]
CONTENTS = st.text(max_size=12) | st.sampled_from(
    ["", "-1", "0", "1e9", "nan", "true", "none", "https://x", "http://[", "9" * 400, "\x00", "é"]
)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.dictionaries(st.sampled_from(NAMES), CONTENTS.filter(lambda x: "\x00" not in x)))
def test_any_environment_is_settings_or_says_what_is_wrong(environ: dict[str, str]) -> None:
    """In lines that each name a variable, and never show a secret."""
    secret = "hunter2-hunter2"
    given = environ | {"ASSET_SYNC_PIM__PASSWORD": secret}
    said = ""
    try:
        load(given, None)
    except SettingsError as error:
        said = str(error)
    assert secret not in said
    assert all("ASSET_SYNC_" in line for line in said.splitlines())


async def test_the_simulator_answers_any_body() -> None:
    """As a PIM does: with 4xx, and goes on."""
    chance = random.Random(5)
    pim = PimSimulator(sample(), calls_per_second_max=100_000)
    runner, url = await serve(pim)
    pim.tokens.app_token = "t"
    target = f"{url}/api/rest/v1/asset-families/packshots/assets"
    headers = {"authorization": "Bearer t", "content-type": "application/json"}
    entry = b'{"locale": null, "channel": null, "data": "x"}'
    good = b'[{"code": "a", "values": {"photographer": [' + entry + b"]}}]"
    async with aiohttp.ClientSession(headers=headers) as session:
        for _ in range(300):
            body = bytearray(good)
            for _ in range(chance.randint(0, 5)):
                at = chance.randrange(len(body) + 1)
                body[at : at + chance.randint(0, 9)] = chance.choice(TOKENS)
            for method, path in (("PATCH", target), ("PATCH", target + "/a")):
                async with session.request(method, path, data=bytes(body)) as answer:
                    assert answer.status < 500, (bytes(body), await answer.text())
        async with session.patch(target, data=good) as answer:
            assert answer.status == 200
    await runner.cleanup()
    await asyncio.sleep(0)


ANSWERS = [
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]",
    b"HTTP/1.1 429 Too Many\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 201 Cr\xe9\xe9\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n",
    b"HTTP/1.0 302 Found\r\nLocation: /login\r\nSet-Cookie: a=\xff\r\n\r\n<html>",
]
INJURIES = (
    b"\r\n",
    b"\x00",
    b"\xff\xfe",
    b":",
    b" ",
    b"-1",
    b"9" * 30,
    b"x" * 9000,
    b"gzip, br",
    b";",
)


@pytest.mark.slow
async def test_whatever_a_server_writes_is_an_answer_or_a_fault() -> None:
    """Never an exception: that would be taken for a bug of ours, and end the service."""
    chance = random.Random(7)
    written = b""

    async def write(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(written)
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(write, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    pim = PimSettings.model_validate({"base_url": url, "app_token": "t", "timeout_seconds": 2})
    api = HttpAssetApi(pim, lambda: Credentials(app_token="t"))

    async def permit() -> None: ...

    for _ in range(1500):
        bent_answer = bytearray(chance.choice(ANSWERS))
        for _ in range(chance.randint(0, 4)):
            at = chance.randrange(len(bent_answer) + 1)
            bent_answer[at : at + chance.randint(0, 9)] = chance.choice(INJURIES)
        written = bytes(bent_answer)
        answer = await api.send(GetFamilies(), permit=permit, may_write=lambda: True)
        assert isinstance(answer, CallReply | CallFault), written
    written = ANSWERS[2].replace(b"Content-Encoding: gzip\r\n", b"")
    # The first may take a connection that the server closed a moment ago.
    answers = [await api.send(GetFamilies(), permit=permit, may_write=lambda: True) for _ in "ab"]
    assert 201 in {answer.status for answer in answers if isinstance(answer, CallReply)}
    await api.close()
    server.close()
