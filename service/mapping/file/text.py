"""Reads the text of a sources file: YAML with the place of everything.

Rule 1: as in YAML 1.2, only null, true, false and decimal numbers are not text. `no`, `on`,
`12:30` and numbers with a leading zero are text, and so are keys.
Rule 2: what makes a file hard to read or to check is refused: anchors, aliases, tags, several
documents, repeated keys.
Rule 3: size, depth and number of values are bounded, so that no file can exhaust the process.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import yaml

from service.mapping.faults import DocumentPath

BYTES_MAX = 1024 * 1024
"""Largest file in bytes."""
DEPTH_MAX = 40
"""How deep maps and lists may be nested; tests/support/sources/example.yaml nests 11."""
VALUES_MAX = 100_000
"""How many values, maps and lists a file may have."""
NUMBER_CHARACTERS_MAX = 100
"""Longest number; a longer one must be written as text."""

_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS = {
    "true": True,
    "True": True,
    "TRUE": True,
    "false": False,
    "False": False,
    "FALSE": False,
}
_INTEGER = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")

_TAB_HINT = "Indent with spaces, not with tabs."
_QUOTE_IN_LINE = "Close the bracket, or put a text that has brackets or `: ` in it into quotes."
_HINTS = {
    "found character that cannot start any token": "Put the text into quotes.",
    "did not find expected ',' or '}'": _QUOTE_IN_LINE,
    "did not find expected ',' or ']'": _QUOTE_IN_LINE,
    "mapping values are not allowed in this context": (
        "Put a text that has `: ` in it into quotes, or correct the indentation."
    ),
}
"""What is usually meant, by the parser's sentence on what is wrong."""

Scalar = str | bool | int | float | None


class WrittenFloat(float):
    """A number with a point or an exponent that is shown exactly as it was written."""

    __slots__ = ("text",)
    text: str

    def __new__(cls, text: str) -> Self:
        made = super().__new__(cls, text)
        made.text = text
        return made

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """A line and a column, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class TextFault:
    """Something wrong at a place of the text."""

    place: Place
    message: str


@dataclass(slots=True)
class Node:
    """A value of the document, where it begins, and the parts of a map or a list."""

    place: Place
    data: object
    members: dict[str, "Node"] = field(default_factory=dict)
    elements: list["Node"] = field(default_factory=list)
    key_place: Place | None = None


@dataclass(frozen=True, slots=True)
class Document:
    """The data of a file, and where each part of it is."""

    root: Node
    faults: tuple[TextFault, ...]

    @property
    def data(self) -> object:
        return self.root.data

    def place(self, path: DocumentPath, *, is_key: bool = False) -> Place:
        """Return where the part begins, or the nearest part around it that the document has."""
        node = self._nearest(path)
        return node.key_place if is_key and node.key_place is not None else node.place

    def _nearest(self, path: DocumentPath) -> Node:
        node = self.root
        for step in path:
            match step:
                case str() if step in node.members:
                    node = node.members[step]
                case int() if 0 <= step < len(node.elements):
                    node = node.elements[step]
        return node


class _RefusedError(Exception):
    """The rest of the text cannot be read."""

    def __init__(self, place: Place, message: str) -> None:
        super().__init__(message)
        self.fault = TextFault(place, message)


def read(content: bytes) -> Document | tuple[TextFault, ...]:
    """Return the document, or what is wrong with the text if it cannot be read to its end."""
    builder = _Builder()
    text = ""
    try:
        text = _decode(content)
        root = builder.build(yaml.parse(text, Loader=_LOADER))
    except _RefusedError as refused:
        return (*builder.faults, refused.fault)
    except yaml.MarkedYAMLError as error:
        return (*builder.faults, _not_yaml(text, error))
    except yaml.reader.ReaderError as error:
        return (*builder.faults, _unreadable(text, error))
    return Document(root, tuple(builder.faults))


def _decode(content: bytes) -> str:
    if len(content) > BYTES_MAX:
        raise _RefusedError(
            Place(1, 1), f"The file is too large: at most {BYTES_MAX} bytes are read."
        )
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        raise _RefusedError(
            _place_after(before), "The file is not UTF-8: save it in this encoding."
        ) from None


def _not_yaml(text: str, error: yaml.MarkedYAMLError) -> TextFault:
    """Return what the parser says, and how such a place is usually corrected."""
    mark = error.problem_mark or error.context_mark
    problem = error.problem or error.context or ""
    is_tab = mark is not None and text[mark.index : mark.index + 1] == "\t"
    hint = _TAB_HINT if is_tab else _HINTS.get(problem)
    message = f"This is not YAML: {problem}."
    return TextFault(_place(mark), message if hint is None else f"{message} {hint}")


def _unreadable(text: str, error: yaml.reader.ReaderError) -> TextFault:
    offset = error.position if isinstance(error.position, int) else 0
    before = text.encode()[:offset].decode("utf-8", "ignore")
    return TextFault(_place_after(before), "A control character stands here: remove it.")


def _place_after(before: str) -> Place:
    """Return the place of the character that follows on the beginning of a file."""
    return Place(before.count("\n") + 1, len(before) - before.rfind("\n"))


class _Builder:
    """Makes the tree of a document from the parser's events."""

    def __init__(self) -> None:
        self.faults: list[TextFault] = []
        self._events: Iterator[yaml.Event] = iter(())
        self._count = 0

    def build(self, events: Iterator[yaml.Event]) -> Node:
        self._events = events
        next(events)  # the start of the stream
        if not isinstance(next(events), yaml.DocumentStartEvent):
            raise _RefusedError(Place(1, 1), "The file is empty.")
        root = self._node(next(events), 0)
        next(events)  # the end of the document
        after = next(events)
        if isinstance(after, yaml.DocumentStartEvent):
            raise _RefusedError(
                _place(after.start_mark), "A second document begins here; a file has one."
            )
        return root

    def _node(self, event: yaml.Event, depth: int) -> Node:
        place = _place(event.start_mark)
        self._check(event, place, depth)
        match event:
            case yaml.MappingStartEvent():
                return self._map(place, depth)
            case yaml.SequenceStartEvent():
                return self._list(place, depth)
            case yaml.ScalarEvent():
                return Node(place, self._scalar(event, place))
            case _:  # an alias, which `_check` has reported
                return Node(place, None)

    def _check(self, event: yaml.Event, place: Place, depth: int) -> None:
        self._count += 1
        if self._count > VALUES_MAX:
            raise _RefusedError(place, f"The file has more than {VALUES_MAX} values.")
        if depth > DEPTH_MAX:
            raise _RefusedError(place, f"This is nested more than {DEPTH_MAX} levels deep.")
        if event.anchor is not None:
            self._fault(
                place, "Anchors and aliases are not supported: use `tables`, or keys of the source."
            )
        elif getattr(event, "tag", None) is not None:
            self._fault(place, f"The tag {event.tag} is not supported: remove it.")

    def _map(self, place: Place, depth: int) -> Node:
        data: dict[str, object] = {}
        node = Node(place, data)
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, depth)
            member = self._node(next(self._events), depth + 1)
            if key is None:
                continue
            name, member.key_place = key
            if name in data:
                first = node.members[name].key_place
                assert first is not None
                self._fault(
                    member.key_place,
                    f"`{name}` is given twice; it is in line {first.line} already.",
                )
                continue
            data[name] = member.data
            node.members[name] = member
        return node

    def _key(self, event: yaml.Event, depth: int) -> tuple[str, Place] | None:
        """Return a key as it is written; report a key that is not a text."""
        if isinstance(event, yaml.ScalarEvent):
            place = _place(event.start_mark)
            self._check(event, place, depth)
            return event.value, place
        place = self._node(event, depth + 1).place
        self._fault(place, "A key must be a text.")
        return None

    def _list(self, place: Place, depth: int) -> Node:
        node = Node(place, [])
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            node.elements.append(self._node(event, depth + 1))
        node.data = [element.data for element in node.elements]
        return node

    def _scalar(self, event: yaml.ScalarEvent, place: Place) -> Scalar:
        text: str = event.value
        if event.style:  # quoted, or a block
            return text
        if text in _NULL:
            return None
        if text in _BOOLEANS:
            return _BOOLEANS[text]
        if _NUMBER.fullmatch(text) is None:
            return text
        if len(text) > NUMBER_CHARACTERS_MAX:
            self._fault(place, "This number is too long: put it into quotes.")
            return None
        return int(text) if _INTEGER.fullmatch(text) else WrittenFloat(text)

    def _fault(self, place: Place, message: str) -> None:
        self.faults.append(TextFault(place, message))


def _place(mark: yaml.Mark) -> Place:
    return Place(mark.line + 1, mark.column + 1)
