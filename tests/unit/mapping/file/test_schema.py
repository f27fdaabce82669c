"""The JSON Schema of the sources file: what editors know of what the loader accepts."""

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from service.mapping import profiles, starters
from service.mapping.file.load import Loaded, load
from service.mapping.file.schema import keys_at, sources_schema
from service.mapping.file.text import Document, read
from tests.support.mapping import SIMPLE

EXAMPLE = Path(__file__).parents[3] / "support" / "sources" / "example.yaml"
VALIDATOR = jsonschema.Draft202012Validator(sources_schema())


def data(content: bytes) -> dict[str, Any]:
    """Return the data of a file as an editor sees them."""
    document = read(content)
    assert isinstance(document, Document)
    assert isinstance(document.data, dict)
    return document.data


@pytest.mark.parametrize(
    "content", [EXAMPLE.read_bytes(), *map(starters.content, profiles.names()), SIMPLE.encode()]
)
def test_what_the_loader_accepts_the_schema_accepts(content: bytes) -> None:
    assert list(VALIDATOR.iter_errors(data(content))) == []


@pytest.mark.parametrize("name", profiles.names())
def test_a_profile_is_a_source_without_topics(name: str) -> None:
    file = data(SIMPLE.encode())
    file["sources"] = {"one": {"topics": ["t"], **data(profiles.content(name))}}

    assert list(VALIDATOR.iter_errors(file)) == []


@pytest.mark.parametrize(
    "line",
    [
        "fmaily: a",
        "topic: a",
        "only:",
        "only: {}",
        "only: []",
        "only: {a: {prefx: b}}",
        "only: {a: {}}",
        "only: {a: {above: x}}",
        "only: {a: [[1]]}",
        "values: {}",
        "values: {label: 3}",
        "values: {label: []}",
        "values: {label: {path: 1}}",
        "values: {label: {path: a, const: b}}",
        "values: {label: {locale: en_US}}",
        "values: {label: {each: a}}",
        "values: {label: {path: a, give: b}}",
        "values: {label: {path: a, otherwise: keep}}",
        "values: {label: {path: a, zone: Europe/Paris}}",
        "values: {label: {path: a, part: nme}}",
        "values: {label: {path: a, cut: 1.5}}",
        "values: {label: {path: a, table: {b: 1}}}",
        "values: {label: {const: {a: 1}}}",
        "values: {label: {file: {name: a}}}",
        "no_family: drop",
        "families: [a/b]",
        "on_delete: drop",
        "on_delete: {set: {}}",
        "profile: s4",
        "fetch: {host: dam}",
        "webhook: {path: dam, verify: {none: I trust the network}}",
        "webhook: {path: /dam, verify: {none: yes}}",
        "webhook: {path: /dam, verify: {}}",
        "webhook: {path: /dam, verify: {none: I trust the network, sns: {topics: [a]}}}",
        "webhook: {path: /dam, verify: {token: {header: a b, secret: c}}}",
        "webhook: {path: /dam, verify: {token: {header: a, secret: c/d}}}",
        "tests: [{name: a, record: {}, expect: []}]",
        "tests: [{name: a, record: {}, expect: [{}]}]",
        "tests: [{name: a, record: {}, expect: [{skipped: late}]}]",
        "tests: [{name: a, record: {}, fetched: 3, expect: [{delete: a}]}]",
        "tests: [{name: a, record: {}, expect: [{upsert: a, values: {b: [{dta: c}]}}]}]",
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(line: str) -> None:
    """Wherever a schema can: it knows no paths, and only one part of the file at a time."""
    content = f"{SIMPLE}    {line}\n".encode()

    assert not isinstance(load(content, "sources.yaml"), Loaded)
    assert list(VALIDATOR.iter_errors(data(content))) != []


@pytest.mark.parametrize(
    "auth",
    [
        {"bearer": "a", "basic": {"username": "a", "password": "b"}},
        {},
        {"basic": {"username": "a"}},
        {"oauth2": {"token_url": "https://a", "client_id": "a", "client_secret": "b", "x": "c"}},
    ],
)
def test_credentials_of_a_host_are_exactly_one_kind(auth: dict[str, Any]) -> None:
    file = copy.deepcopy(data(SIMPLE.encode()))
    file["hosts"]["dam"]["auth"] = auth

    assert list(VALIDATOR.iter_errors(file)) != []


def test_every_key_has_a_description() -> None:
    """An editor shows it, and so does the reference."""
    schema = sources_schema()
    parts = {"SourcesFile": schema, **schema["$defs"]}
    bare = {
        f"{name}.{key}"
        for name, part in parts.items()
        for key, value in part.get("properties", {}).items()
        if "description" not in value and "$ref" not in value
    }

    assert {key for key in bare if not key.startswith(("Expected", "TableRef"))} == set()


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ((), "sources"),
        (("hosts", "dam"), "max_per_second"),
        (("hosts", "dam", "auth", "oauth2"), "token_url"),
        (("sources", "a"), "for_each"),
        (("sources", "a", "rules", 3), "because"),
        (("sources", "a", "rules", 3, "when", "b"), "ignore_case"),
        (("sources", "a", "values", "b", 1, "locale"), "otherwise"),
        (("sources", "a", "on_delete"), "set"),
        (("sources", "a", "webhook", "verify", "hmac"), "encoding"),
        (("sources", "a", "tests", 0, "expect", 1), "rejected"),
    ],
)
def test_the_keys_of_every_place_are_known(path: tuple[str | int, ...], key: str) -> None:
    """For a hint at the nearest one."""
    assert key in keys_at(path)
