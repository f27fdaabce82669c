"""Wrong use of the commands: exit 2 and a sentence, before anything begins."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner

from service.cli import main
from service.cli.options import AssetPath, Since, Utf8
from service.cli.webhook import _header, _meaning_of, _post
from service.webhooks.schemes.token import Token
from service.webhooks.signing import NotSignableError, sign


def _page(status: str, body: bytes) -> bytes:
    return f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\n\r\n".encode() + body


@contextmanager
def _answering(answer: bytes, asked: list[bytes] | None = None) -> Iterator[int]:
    """Send this to the first who connects to the port that is yielded, whatever it asks."""

    def serve() -> None:
        try:
            connection, _ = listener.accept()
        except TimeoutError:
            return
        with connection:
            received = connection.recv(65_536)
            connection.sendall(answer)
        if asked is not None:
            asked.append(received)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        server = threading.Thread(target=serve)
        server.start()
        yield listener.getsockname()[1]
        server.join()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nonsense", "No such command"),
        ("publish /nowhere", "No such file"),
        ("publish .", "Is a directory"),
        ("outcomes --asset nonsense", "FAMILY/CODE"),
        ("outcomes --asset a/b/c", "FAMILY/CODE"),
        ("outcomes --asset a/\udcff", "is not UTF-8"),
        ("outcomes --family \udcff", "is not UTF-8"),
        ("dead-letters list --family \udcff", "is not UTF-8"),
        ("media get \udcff file", "is not UTF-8"),
        ("check --sandbox --family \udcff", "is not UTF-8"),
        ("outcomes --status nope", "is not one of"),
        ("outcomes --context dam_id", "NAME=VALUE"),
        ("outcomes --tail -1", "is not in the range"),
        ("outcomes --since yesterday", "is neither like 30m"),
        ("dead-letters list --since yesterday", "like 30m, 2h, 7d"),
        ("dead-letters list --since 999999d", "like 30m, 2h, 7d"),
        ("dead-letters list --asset /code", "FAMILY/CODE"),
        ("schema nonsense", "is not one of"),
        ("pim-simulator --port 99999", "not in the range"),
        ("pim-simulator --structure .", "is a directory"),
        ("pim-simulator --scenario .", "is a directory"),
        ("pim-simulator --calls-at-once 0", "not in the range"),
        ("demo --events 0", "not in the range"),
        ("release --port 0", "not in the range"),
    ],
)
def test_wrong_use(words: str, said: str) -> None:
    """It says what was expected."""
    ended = CliRunner().invoke(main, words.split())

    assert ended.exit_code == 2, ended.output
    assert said in ended.output


@pytest.mark.parametrize(
    ("url", "ca_file", "code", "said"),
    [
        ("ftp://localhost", None, 2, "is not an http or https address"),
        ("http://[::1", None, 1, "No asset-sync ingress answers at http://[::1: "),
        ("HTTP://127.0.0.1:9", None, 1, "at HTTP://127.0.0.1:9: Connection refused.\n"),
        ("https://127.0.0.1:9", Path(__file__), 2, "--ca-file: "),
    ],
)
def test_a_webhook_that_cannot_be_sent(
    url: str, ca_file: Path | None, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the address and the file are: a sentence."""
    with pytest.raises(SystemExit) as ended:
        _post(url, b"{}", {}, ca_file)

    assert ended.value.code == code
    assert said in capsys.readouterr().err


def test_a_secret_of_several_lines_is_not_shown() -> None:
    """Python quotes the value of a header that it cannot send."""
    with pytest.raises(NotSignableError, match="it has several lines") as caught:
        sign(Token("x-token", ("name",)), b"{}", lambda _: "t0p-secret\nmore", "1", 1)

    assert "t0p-secret" not in str(caught.value)


def test_a_token_is_sent_in_utf_8() -> None:
    """Ingress compares it in UTF-8, and not every character has a byte in Latin-1."""
    asked: list[bytes] = []
    with _answering(_page("200 OK", b""), asked) as port:
        assert _post(f"http://127.0.0.1:{port}/dam", b"{}", {"x-token": "é€"}, None) == 200

    assert ": é€\r\n".encode() in asked[0]


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "308 Permanent Redirect"])
def test_a_redirect_gets_no_secret(status: str) -> None:
    """The address of a redirect may belong to somebody else, and its 200 says nothing of Kafka."""
    with socket.create_server(("127.0.0.1", 0)) as elsewhere:
        elsewhere.settimeout(0)
        location = f"http://127.0.0.1:{elsewhere.getsockname()[1]}/"
        redirect = f"HTTP/1.1 {status}\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        with _answering(redirect.encode()) as port:
            answered = _post(f"http://127.0.0.1:{port}/dam", b"{}", {"x-token": "t0p"}, None)
        with _answering(redirect.encode()) as port:
            ended = CliRunner().invoke(main, ["release", "--port", str(port)])
        with pytest.raises(BlockingIOError):
            elsewhere.accept()

    assert answered == int(status[:3])
    assert "Give that one with --url" in _meaning_of(answered)
    assert ended.stderr.startswith(f"The port answers {status[:3]}: it does not belong to")


@pytest.mark.parametrize("text", ["a", ":b", "a b: c", "é: b", "a: b\nc", "a: b\0"])
def test_a_header_that_cannot_be_sent(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        _header(text)

    assert ended.value.code == 2
    assert "is not of the form NAME:VALUE" in capsys.readouterr().err


def test_a_header_of_a_webhook() -> None:
    assert _header(" X-A : b: c ") == ("X-A", "b: c")
    assert _header("a:") == ("a", "")


def test_a_release_where_nothing_listens() -> None:
    """The network's reason, without the names that the library gives it."""
    ended = CliRunner().invoke(main, ["release", "--port", "1"])

    assert ended.exit_code == 1
    assert ended.stderr.endswith("http://127.0.0.1:1/release: Connection refused.\n")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (_page("200 OK", b"{}"), "The port answers 200: it does not belong to `asset-sync run`"),
        (_page("200 OK", b"[]"), "The port answers 200: it does not belong to `asset-sync run`"),
        (_page("200 OK", b"[" * 100_000), "The port answers 200: it does not belong to"),
        (_page("200 OK", b'{"deletes": "\xff"}'), "The port answers 200: it does not belong to"),
        (_page("404 Not Found", b'{"message": []}'), "The port answers 404: it does not belong to"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "No asset-sync answers at http://127.0.0.1:"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz", "No asset-sync answers at"),
    ],
)
def test_a_release_where_another_program_listens(answer: bytes, said: str) -> None:
    """Whatever it answers: a sentence."""
    with _answering(answer) as port:
        ended = CliRunner().invoke(main, ["release", "--port", str(port)])

    assert ended.exit_code == 1
    assert ended.stderr.startswith(said), ended.output


@pytest.mark.parametrize("typed", ["é", "\udcc3\udca9"])
def test_a_terminal_may_have_any_encoding(typed: str) -> None:
    """Python keeps the bytes of what it cannot decode, as in the locale C."""
    assert Utf8().convert(typed, None, None) == "é"
    assert AssetPath().convert(f"f/{typed}", None, None) == "f/é"


@pytest.mark.parametrize(
    ("text", "utc_ms"),
    [
        ("2026-11-23T10:00", 1_795_428_000_000),
        ("2026-11-23T10:00+02:00", 1_795_420_800_000),
        ("1970-01-01T00:00:01", 1000),
        ("1969-12-31", 0),
        ("0001-01-01", 0),
        ("99999d", 0),
    ],
)
def test_a_time_before_every_record_is_the_beginning(text: str, utc_ms: int) -> None:
    """Kafka's clients take no time before 1970."""
    assert Since().convert(text, None, None) == utc_ms
