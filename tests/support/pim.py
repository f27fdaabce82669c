"""A PIM simulator and the service's client, for tests in this process."""

from service.adapters.akeneo.api import HttpAssetApi
from service.playground.pim.simulator import PimSimulator
from service.playground.pim.structure import Attribute, Structure, family
from service.settings import Credentials, PimSettings

FAMILIES = ("packshots", "manuals", "videos", "banners")


def simulator() -> PimSimulator:
    """Return a PIM of four families, each with the attribute `n`."""
    return PimSimulator(Structure({code: family(code, Attribute("n")) for code in FAMILIES}))


def credentials_of(pim: PimSimulator) -> Credentials:
    """Return the credentials of the simulator."""
    return Credentials(
        client_id=pim.tokens.client_id,
        client_secret=pim.tokens.client_secret,
        username=pim.tokens.username,
        password=pim.tokens.password,
    )


def api_of(pim: PimSimulator, url: str, timeout_seconds: float = 30.0) -> HttpAssetApi:
    """Return the client, with the simulator's credentials as they are at each login."""
    settings = PimSettings.model_validate(
        {
            "base_url": url,
            "timeout_seconds": timeout_seconds,
            "client_id": "x",
            "client_secret": "x",
            "username": "x",
            "password": "x",
        }
    )
    return HttpAssetApi(settings, lambda: credentials_of(pim))
