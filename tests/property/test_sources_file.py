"""Sources files that nobody meant: starter files bent at random give a loaded file or faults."""

import json
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from service.mapping import profiles, starters
from service.mapping.file.load import Loaded, load
from service.mapping.file.merge import PlacedFault
from service.mapping.file_tests import UnreadableFile, run_file_tests

STARTERS = [starters.content(name) for name in profiles.names()]
TREES: list[Any] = [yaml.safe_load(content) for content in STARTERS]
WORDS = [
    "", "path", "do", "delete", "$event.a", "a[", "(", "{a}", "{", "$nosuch", "length(@)",
    "nosuch(@)", "en_US", "../x", "\ud7ff", "a" * 1001, "not_found", "iso", "Europe/Paris",
]  # fmt: skip
ODD = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(width=32) | st.sampled_from(WORDS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner),
    max_leaves=5,
)


def keys_of(tree: object) -> set[str]:
    """Return every key in a tree."""
    if isinstance(tree, dict):
        return set(map(str, tree)).union(*map(keys_of, tree.values()))
    return set().union(*map(keys_of, tree)) if isinstance(tree, list) else set()


KEYS = sorted(set().union(*map(keys_of, TREES)) | {"fetch", "not", "split", "sha256", "none"})


@st.composite
def bent_tree(draw: st.DrawFn) -> bytes:
    """A starter file with up to four parts replaced, removed or added."""
    tree = json.loads(json.dumps(draw(st.sampled_from(TREES))))
    for _ in range(draw(st.integers(1, 4))):
        _bend(draw, tree)
    text: str = yaml.safe_dump(tree, allow_unicode=True)
    return text.encode()


def _bend(draw: st.DrawFn, node: Any) -> None:  # noqa: ANN401 - a part of a YAML file
    """Go down at random, and change what is found there."""
    while True:
        steps = list(node) if isinstance(node, dict) else list(range(len(node)))
        if not steps:
            return
        step = draw(st.sampled_from(steps))
        inner = node[step]
        if not isinstance(inner, dict | list) or draw(st.integers(0, 4)) == 0:
            break
        node = inner
    match draw(st.sampled_from(["replace", "remove", "add"])):
        case "replace":
            node[step] = draw(ODD)
        case "remove":
            del node[step]
        case "add" if isinstance(node, dict):
            node[draw(st.sampled_from(KEYS))] = draw(ODD)


@st.composite
def bent_text(draw: st.DrawFn) -> bytes:
    """A starter file with up to four injuries to its bytes."""
    text = bytearray(draw(st.sampled_from(STARTERS)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(text)))
        until = at + draw(st.integers(0, 20))
        text[at:until] = draw(
            st.binary(max_size=4) | st.sampled_from([b"&a ", b"*a", b"- ", b": "])
        )
    return bytes(text)


def check(content: bytes) -> None:
    """Load the file; run its tests, or look at its faults."""
    loaded = load(content, "sources.yaml")
    if isinstance(loaded, Loaded):
        for result in run_file_tests(loaded, lambda _: UnreadableFile("no file")):
            assert result.place.startswith("sources.yaml:")
        return
    assert loaded
    lines = content.count(b"\n") + content.count(b"\r") + 1
    for fault in loaded:
        assert isinstance(fault, PlacedFault)
        assert fault.message
        assert 1 <= fault.place.line <= lines + 1
    assert list(loaded) == sorted(set(loaded))


@pytest.mark.slow
@given(bent_tree())
@settings(max_examples=150)
def test_a_file_with_odd_parts_is_loaded_or_refused(content: bytes) -> None:
    check(content)


@given(bent_text())
@settings(max_examples=150)
def test_a_file_with_odd_bytes_is_loaded_or_refused(content: bytes) -> None:
    check(content)


@given(st.binary())
def test_any_bytes_are_loaded_or_refused(content: bytes) -> None:
    assert not isinstance(load(content, "sources.yaml"), Loaded)


@pytest.mark.parametrize("content", STARTERS)
def test_no_prefix_of_a_file_raises(content: bytes) -> None:
    """As an editor saves it while its author types."""
    for length in range(0, len(content), 97):
        check(content[:length])
