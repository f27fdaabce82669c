"""What is known of a file before anything is fetched (contract.md §9)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.contracts.text import shown_url
from service.core.limits import MediaOptions
from service.core.media.hosts import AllowedHosts
from service.core.media.rules import Allowed, Rules, extension_of, upload_name
from service.core.values import Attribute, MediaFile

HOSTS = AllowedHosts({"cdn.example", "*.dam.example"}, {"minio.local"})
RULES = Rules(
    MediaOptions(
        hosts=frozenset({"cdn.example", "*.dam.example"}),
        private_hosts=frozenset({"minio.local"}),
        file_bytes_max=1_000,
    )
)


@pytest.mark.parametrize(
    ("host", "is_allowed"),
    [
        ("cdn.example", True),
        ("CDN.Example", True),
        ("cdn.example.", True),
        ("x.cdn.example", False),
        ("cdn.example.evil.test", False),
        ("evilcdn.example", False),
        ("a.dam.example", True),
        ("a.b.dam.example", True),
        ("dam.example", False),
        (".dam.example", False),
        ("evildam.example", False),
        ("minio.local", True),
        ("", False),
        ("*.dam.example", True),
    ],
)
def test_a_host_is_allowed_by_name(host: str, is_allowed: bool) -> None:  # noqa: FBT001 - a table
    assert HOSTS.allow(host) is is_allowed


def test_only_named_hosts_are_private() -> None:
    assert HOSTS.is_private("MINIO.local")
    assert not HOSTS.is_private("cdn.example")
    assert not AllowedHosts({"a"}).are_none
    assert AllowedHosts(()).are_none


@pytest.mark.parametrize(
    ("url", "name", "expected"),
    [
        ("https://cdn.example/a/boot.JPG?x=1#y", None, ("boot.JPG", "jpg")),
        ("https://cdn.example/a/b%C3%B6se%20Schuhe.jpg", None, ("b_se_Schuhe.jpg", "jpg")),
        ("https://cdn.example/a%2Fb.jpg", None, ("b.jpg", "jpg")),
        ("https://cdn.example/x", "boot.png", ("boot.png", "png")),
        ("https://cdn.example/", None, ("file", "")),
        ("https://cdn.example:8443", None, ("file", "")),
        ("http://minio.local:9000/boot.tar.gz", None, ("boot.tar.gz", "gz")),
        ("HTTPS://CDN.example/boot.jpg", None, ("boot.jpg", "jpg")),
    ],
)
def test_a_file_that_may_be_fetched(url: str, name: str | None, expected: tuple[str, str]) -> None:
    found = RULES.judge(MediaFile(url, name), None)

    assert isinstance(found, Allowed)
    assert (found.upload_name, found.key.extension) == expected
    assert found.key.url == url
    assert found.key.bytes_max == 1_000


@pytest.mark.parametrize(("of_attribute", "most"), [(None, 1_000), (999, 999), (2_000, 1_000)])
def test_the_smaller_limit_counts(of_attribute: int | None, most: int) -> None:
    attribute = Attribute("media", "media_file", bytes_max=of_attribute)
    found = RULES.judge(MediaFile("https://cdn.example/a.jpg"), attribute)

    assert isinstance(found, Allowed)
    assert found.key.bytes_max == most


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("boot.jpg", "boot.jpg"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".htaccess", "htaccess"),
        ("-rf.jpg", "rf.jpg"),
        ("日本.jpg", "_.jpg"),
        ("...", "file"),
        ("x" * 200 + ".jpeg", "x" * 95 + ".jpeg"),
        ("x" * 200, "x" * 100),
        ("a." + "x" * 200, "a." + "x" * 98),
    ],
)
def test_a_name_is_made_usual(name: str, usual: str) -> None:
    assert upload_name(name) == usual


@pytest.mark.parametrize(
    ("name", "extension"),
    [
        ("a.JPG", "jpg"),
        ("a", ""),
        (".hidden", ""),
        ("a.", ""),
        ("a.b.c", "c"),
        ("a." + "x" * 11, ""),
    ],
)
def test_an_extension_is_what_stands_behind_the_last_dot(name: str, extension: str) -> None:
    assert extension_of(name) == extension


@pytest.mark.parametrize(
    ("url", "people_see"),
    [
        ("https://cdn.example/a.jpg?signature=secret#x", "https://cdn.example/a.jpg"),
        ("https://user:secret@cdn.example/a@b.jpg", "https://cdn.example/a@b.jpg"),
        ("user:secret@cdn.example/a", "cdn.example/a"),
        ("?secret", ""),
        ("https://cdn.example/" + "x" * 300, "https://cdn.example/" + "x" * 179 + "…"),
    ],
)
def test_a_url_is_shown_without_secrets(url: str, people_see: str) -> None:
    assert shown_url(url) == people_see


@given(st.text(), st.none() | st.text(), st.none() | st.frozensets(st.text(max_size=3)))
def test_any_text_is_judged(url: str, name: str | None, accepted: frozenset[str] | None) -> None:
    """A URL is foreign text: nothing raises."""
    attribute = Attribute("media", "media_file", extensions=accepted)
    for file in (MediaFile(url, name), MediaFile(f"https://cdn.example/{url}", name)):
        found = RULES.judge(file, attribute)
        if isinstance(found, Allowed):
            usual = found.upload_name
            assert 0 < len(usual) <= 100
            assert upload_name(usual) == usual
            assert usual.isascii()
        shown_url(url)
