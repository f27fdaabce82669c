"""A token URL on loopback, whose tokens a broker takes that validates no signatures."""

import base64
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

CLIENT_SECRET = "s3cret of a client"


@dataclass
class TokenServer:
    """Gives tokens to the clients that know the secret."""

    lifetime_seconds: float = 300.0
    expires_in: float | str | None = 300.0
    """What the answer says of that, if anything."""
    status: int = 200
    """What every request is answered with; 200 looks at the client's secret."""
    body: str | None = None
    """The body of every answer, if not a token."""
    broken: bool = False
    """Whether the tokens are ones that no broker takes."""
    url: str = ""
    forms: list[Mapping[str, str]] = field(default_factory=list)
    """The form of each request."""

    async def answer(self, request: web.Request) -> web.Response:
        """Answer a request for a token by client credentials."""
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.forms.append(form)
        if self.status != 200 or self.body is not None:
            return web.Response(status=self.status, text=self.body or f"{CLIENT_SECRET} is wrong")
        if form.get("client_secret") != CLIENT_SECRET:
            return web.json_response({"error": "invalid_client"}, status=401)
        token = unsigned_token("" if self.broken else form["client_id"], self.lifetime_seconds)
        answer = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in}
        return web.json_response({name: x for name, x in answer.items() if x is not None})


def unsigned_token(subject: str, lifetime_seconds: float) -> str:
    """Return a JSON Web Token without a signature (RFC 7519, 6)."""
    now = time.time()
    claims = {"sub": subject, "iat": now, "exp": now + lifetime_seconds}
    parts = (json.dumps(part).encode() for part in ({"alg": "none"}, claims))
    return ".".join([*(base64.urlsafe_b64encode(one).decode().rstrip("=") for one in parts), ""])


@asynccontextmanager
async def token_server() -> AsyncIterator[TokenServer]:
    """Yield a token URL."""
    server = TokenServer()
    application = web.Application()
    application.router.add_post("/token", server.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert isinstance(site.name, str)
    server.url = site.name + "/token"
    yield server
    await runner.cleanup()
