"""Addresses: what may be connected to when the URL came from outside."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.adapters.public_addresses import first_not_public, is_public

PUBLIC = ("8.8.8.8", "1.1.1.1", "93.184.216.34", "2001:4860:4860::8888", "2a00:1450:4001:81b::200e")
INSIDE = {
    "private": ("10.0.0.1", "172.16.0.1", "192.168.1.1", "fd00::1", "fc00::1"),
    "loopback": ("127.0.0.1", "127.255.0.1", "::1"),
    "link-local, with the metadata of clouds": ("169.254.169.254", "fe80::1", "fe80::1%eth0"),
    "shared by carriers": ("100.64.0.1", "100.127.255.255"),
    "multicast": ("224.0.0.1", "239.255.255.250", "ff02::1", "ff0e::1"),
    "unspecified": ("0.0.0.0", "::"),  # noqa: S104 - nothing is bound
    "reserved": ("240.0.0.1", "255.255.255.255", "4000::1", "5f00::1"),
    "documentation": ("192.0.2.1", "198.51.100.1", "203.0.113.9", "2001:db8::1", "3fff::1"),
    "benchmarks and protocols": ("198.18.0.1", "192.0.0.8", "192.88.99.1", "100::1", "2001:20::1"),
    "site-local": ("fec0::1",),
    "IPv4-compatible, translated and local NAT64": ("::127.0.0.1", "::8.8.8.8", "64:ff9b:1::1"),
}


def in_v6(address: IPv4Address) -> dict[str, str]:
    """The ways in which an IPv6 address can carry this IPv4 address."""
    number = int(address)
    return {
        "mapped": str(IPv6Address((0xFFFF << 32) | number)),
        "NAT64": str(IPv6Address((0x64FF9B << 96) | number)),
        "6to4": str(IPv6Address((0x2002 << 112) | (number << 80))),
        "Teredo, as client": str(
            IPv6Address(
                (0x2001_0000 << 96) | (int(IPv4Address("8.8.8.8")) << 64) | (number ^ 0xFFFF_FFFF)
            )
        ),
    }


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(address)


@pytest.mark.parametrize(("kind", "addresses"), INSIDE.items())
def test_addresses_that_are_not_public(kind: str, addresses: tuple[str, ...]) -> None:
    assert [address for address in addresses if is_public(address)] == [], kind


@pytest.mark.parametrize("address", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "8.8.8.8"])
def test_an_address_inside_another_is_judged_as_itself(address: str) -> None:
    found = {way: is_public(written) for way, written in in_v6(IPv4Address(address)).items()}
    assert set(found.values()) == {is_public(address)}, found


def test_a_teredo_server_is_judged_too() -> None:
    client = int(IPv4Address("8.8.8.8")) ^ 0xFFFF_FFFF
    server = int(IPv4Address("10.0.0.1"))
    assert not is_public(str(IPv6Address((0x2001_0000 << 96) | (server << 64) | client)))


@given(st.ip_addresses())
def test_nothing_is_public_that_python_knows_to_be_inside(address: IPv4Address) -> None:
    """Our rules only take away."""
    if is_public(str(address)) and not any(
        getattr(address, way, None) for way in ("sixtofour", "teredo", "ipv4_mapped")
    ):
        judged = ip_address(str(address))
        is_nat64 = str(judged).startswith("64:ff9b:")
        assert is_nat64 or (judged.is_global and not judged.is_multicast)


@given(st.text(max_size=30))
def test_what_is_not_an_address_is_not_public(text: str) -> None:
    """Nothing is raised, whatever a resolver says."""
    try:
        ip_address(text)
    except ValueError:
        assert not is_public(text)


def test_one_address_inside_spoils_the_name() -> None:
    """A name with a public and a private address is the trick of DNS rebinding."""
    assert first_not_public(["8.8.8.8", "10.0.0.1", "127.0.0.1"]) == "10.0.0.1"
    assert first_not_public(["8.8.8.8", "1.1.1.1"]) is None
