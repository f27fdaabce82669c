"""The token flow, driven by hand (akeneo.md §1)."""

import base64
import json

import pytest

from service.adapters.akeneo.auth import (
    Flow,
    NoTokenError,
    RefusedError,
    Token,
    TokenReply,
    renewal,
)
from service.adapters.akeneo.wire import HttpRequest, read_reply
from service.settings import Credentials

CREDENTIALS = Credentials(client_id="id", client_secret="s3cret", username="user", password="pa55")
GRANT = {"access_token": "A", "expires_in": 3600, "token_type": "bearer", "refresh_token": "R"}


def answer(status: int, content: object) -> TokenReply:
    """What the token endpoint says."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    return TokenReply(body, read_reply(status, {}, body))


def refusal(status: int) -> TokenReply:
    """In the PIM's own shape."""
    return answer(status, {"code": status, "message": "no"})


def end(flow: Flow, reply: TokenReply) -> Token:
    """The token that the flow ends with."""
    with pytest.raises(StopIteration) as stopped:
        flow.send(reply)
    token: Token = stopped.value.value
    return token


def body(request: HttpRequest) -> dict[str, str]:
    """The grant that was sent."""
    assert request.body is not None
    found: dict[str, str] = json.loads(request.body)
    return found


def test_the_password_grant() -> None:
    """Basic authorization, a minimal body: a larger one is refused (§1.2)."""
    flow = renewal(CREDENTIALS, None)
    request, authorization = next(flow)

    assert (request.method, request.path) == ("POST", "/api/oauth/v1/token")
    assert authorization == "Basic " + base64.b64encode(b"id:s3cret").decode()
    assert body(request) == {"grant_type": "password", "username": "user", "password": "pa55"}
    assert len(request.body or b"") < 200
    assert end(flow, answer(200, GRANT)) == Token("A", "R", 3600)


def test_a_refresh_token_goes_first() -> None:
    """Both tokens are new afterwards."""
    flow = renewal(CREDENTIALS, "old")
    request, _ = next(flow)

    assert body(request) == {"grant_type": "refresh_token", "refresh_token": "old"}
    assert end(flow, answer(200, GRANT)).refresh == "R"


@pytest.mark.parametrize("status", [400, 401, 422])
def test_a_refresh_token_that_is_gone_falls_back_to_the_password(status: int) -> None:
    """422 by the documents; the official client stops here, ours goes on."""
    flow = renewal(CREDENTIALS, "old")
    next(flow)
    request, _ = flow.send(refusal(status))

    assert body(request)["grant_type"] == "password"
    assert end(flow, answer(200, GRANT)).access == "A"


@pytest.mark.parametrize("status", [400, 401, 403, 422])
def test_refused_credentials(status: int) -> None:
    """With the PIM's words, without ours."""
    flow = renewal(CREDENTIALS, None)
    next(flow)
    with pytest.raises(RefusedError, match="no"):
        flow.send(refusal(status))


@pytest.mark.parametrize(
    "reply",
    [refusal(429), refusal(500), answer(503, b"<html>"), answer(200, b"<html>"), answer(200, {})],
)
def test_anything_else_is_no_token(reply: TokenReply) -> None:
    """An outage or a proxy: the answer is passed on, nobody's credentials are blamed."""
    flow = renewal(CREDENTIALS, None)
    next(flow)
    with pytest.raises(NoTokenError):
        flow.send(reply)


def test_a_token_is_renewed_before_it_runs_out_and_never_shown() -> None:
    """At nine tenths of its life."""
    token = Token("A", "R", 3600)
    assert token.renew_in == 3240
    assert Token("app").renew_in is None
    assert "A" not in repr(token).replace("Token", "")
