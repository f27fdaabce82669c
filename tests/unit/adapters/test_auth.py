"""The token flow without I/O (akeneo.md §1)."""

import base64
import json

import pytest

from service.adapters.akeneo.auth import (
    Flow,
    NoTokenError,
    RefusedError,
    TokenReply,
    renewal,
)
from service.adapters.akeneo.wire import HttpRequest, read_reply
from service.adapters.tokens import Token
from service.settings import Credentials

CREDENTIALS = Credentials(client_id="id", client_secret="s3cret", username="user", password="pa55")
GRANT = {"access_token": "A", "expires_in": 3600, "token_type": "bearer", "refresh_token": "R"}


def answer(status: int, content: object) -> TokenReply:
    """Return an answer of the token endpoint."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return TokenReply(body, read_reply(status, {}, body))


def refusal(status: int) -> TokenReply:
    """Return a refusal in the PIM's own shape."""
    return answer(status, {"code": status, "message": "no"})


def end(flow: Flow, reply: TokenReply) -> Token:
    """Return the token that the flow ends with."""
    with pytest.raises(StopIteration) as stopped:
        flow.send(reply)
    token: Token = stopped.value.value
    return token


def body(request: HttpRequest) -> dict[str, str]:
    """Return the grant that was sent."""
    assert request.body is not None
    found: dict[str, str] = json.loads(request.body)
    return found


def test_the_password_grant() -> None:
    """The body is minimal, because the PIM refuses a larger one (akeneo.md §1.2)."""
    flow = renewal(CREDENTIALS, None)
    request, authorization = next(flow)

    assert (request.method, request.path) == ("POST", "/api/oauth/v1/token")
    assert authorization == "Basic " + base64.b64encode(b"id:s3cret").decode()
    assert body(request) == {"grant_type": "password", "username": "user", "password": "pa55"}
    assert len(request.body or b"") < 200
    assert end(flow, answer(200, GRANT)) == Token("A", "R", 3600)


def test_a_refresh_token_goes_first() -> None:
    """The PIM then gives two new tokens."""
    flow = renewal(CREDENTIALS, "old")
    request, _ = next(flow)

    assert body(request) == {"grant_type": "refresh_token", "refresh_token": "old"}
    assert end(flow, answer(200, GRANT)).refresh == "R"


@pytest.mark.parametrize("status", [400, 401, 422])
def test_a_refresh_token_that_is_gone_falls_back_to_the_password(status: int) -> None:
    """The PIM documents a 422; Akeneo's own client stops there, and this one goes on."""
    flow = renewal(CREDENTIALS, "old")
    next(flow)
    request, _ = flow.send(refusal(status))

    assert body(request)["grant_type"] == "password"
    assert end(flow, answer(200, GRANT)).access == "A"


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_refused_credentials(status: int) -> None:
    """The message is the PIM's and does not contain the credentials."""
    flow = renewal(CREDENTIALS, None)
    next(flow)
    with pytest.raises(RefusedError, match="no"):
        flow.send(refusal(status))


@pytest.mark.parametrize(
    "reply",
    [refusal(429), refusal(500), answer(503, b"<html>"), answer(200, b"<html>"), answer(200, {})],
)
def test_anything_else_is_no_token(reply: TokenReply) -> None:
    """The answer of an outage or a proxy is passed on, and the credentials are not blamed."""
    flow = renewal(CREDENTIALS, None)
    next(flow)
    with pytest.raises(NoTokenError):
        flow.send(reply)


def test_a_token_is_renewed_before_it_runs_out_and_never_shown() -> None:
    """It is renewed after nine tenths of its lifetime."""
    token = Token("A", "R", 3600)
    assert token.renew_in == 3240
    assert Token("app").renew_in is None
    assert "A" not in repr(token).replace("Token", "")
