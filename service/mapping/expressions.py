"""JMESPath expressions, for the paths that are more than names and indexes.

Rule 1: an expression is parsed once, without the library's cache. What the library would tell only
when it runs (an unknown function, a wrong number of arguments) is told when the file is compiled.
Rule 2: evaluation is bounded: each node that is visited is a step of the record's work.
"""

from collections.abc import Callable, Iterator
from typing import Any

import jmespath.exceptions
import jmespath.functions
import jmespath.parser
import jmespath.visitor

from service.mapping.endings import UnmappableError
from service.mapping.faults import FaultError, did_you_mean
from service.mapping.json_values import encode, text_of_number
from service.mapping.work import CHARACTERS_PER_STEP, Work

PIPES_MAX = 8
"""Most pipes in an expression: each can multiply what the one before it gave."""

DEPTH_MAX = 60
"""Most levels of nesting in an expression."""

_FAILURES = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What the library raises for values of unexpected types: its own errors are ValueErrors."""

Node = dict[str, Any]
"""A node of the tree that the library's parser makes: `type`, `children`, mostly `value`."""


class _Parser(jmespath.parser.Parser):  # type: ignore[misc] # the library is untyped
    """Parses without the cache that all parsers of a process share."""

    _CACHE: dict[str, object] = {}  # noqa: RUF012 - stays empty, since its size is 0
    _MAX_SIZE = 0


class _Functions(jmespath.functions.Functions):  # type: ignore[misc] # the library is untyped
    """The standard functions; numbers become text as they were written."""

    @jmespath.functions.signature({"types": []})  # type: ignore[untyped-decorator] # likewise
    def _func_to_string(self, argument: object) -> object:
        if isinstance(argument, str):
            return argument
        if isinstance(argument, float) and text_of_number(argument) is None:
            raise ValueError("infinity is not JSON")
        return encode(argument).decode()


FUNCTIONS: dict[str, Any] = _Functions.FUNCTION_TABLE


class _Interpreter(jmespath.visitor.TreeInterpreter):  # type: ignore[misc] # likewise
    """Evaluates one tree, and counts the work."""

    def __init__(self) -> None:
        super().__init__(jmespath.visitor.Options(custom_functions=_Functions()))
        self.work = Work()
        self._visits: dict[str, Callable[[Node, object], object]] = {}

    def prepare(self, tree: Node) -> None:
        """Look the methods up once that visit the nodes of this tree."""
        for node, _ in walk(tree):
            self._visits[node["type"]] = getattr(self, f"visit_{node['type']}")

    def visit(self, node: Node, value: object) -> object:
        found = self._visits[node["type"]](node, value)
        steps = 1
        if found.__class__ is list:
            steps += len(found)
        elif found.__class__ is str:
            steps += len(found) // CHARACTERS_PER_STEP
        self.work.spend(steps)
        return found


def parse(text: str) -> Node:
    """Return the tree of an expression; raise FaultError when it can never be evaluated."""
    try:
        tree: Node = _Parser().parse(text).parsed
    except RecursionError:
        raise FaultError(f"The path nests more than {DEPTH_MAX} levels.") from None
    except ValueError as error:
        raise FaultError(f"This is not a path: {_flaw(error)}.") from None
    _check(tree)
    return tree


def _flaw(error: ValueError) -> str:
    """Return what the library says in many lines as the end of a sentence."""
    if isinstance(error, jmespath.exceptions.EmptyExpressionError):
        return "it is empty"
    if isinstance(error, jmespath.exceptions.LexerError):
        return str(error.message)
    if not isinstance(error, jmespath.exceptions.ParseError):
        return str(error)
    if not error.token_value:
        return "it ends too early"
    return f"{error.token_value} is not expected at character {error.lex_position + 1}"


def _check(tree: Node) -> None:
    pipes = 0
    for node, depth in walk(tree):
        if depth > DEPTH_MAX:
            raise FaultError(f"The path nests more than {DEPTH_MAX} levels.")
        pipes += node["type"] == "pipe"
        if node["type"] == "function_expression":
            _check_function(node)
        elif node["type"] == "literal":
            _check_literal(node)
    if pipes > PIPES_MAX:
        raise FaultError(f"The path has {pipes} pipes; at most {PIPES_MAX} are allowed.")


def walk(tree: Node, depth: int = 0) -> Iterator[tuple[Node, int]]:
    """Return all nodes with their depth. It stops one level below `DEPTH_MAX`."""
    yield tree, depth
    if depth <= DEPTH_MAX:
        for child in tree["children"]:
            if isinstance(child, dict):  # the children of a slice are numbers
                yield from walk(child, depth + 1)


def _check_function(node: Node) -> None:
    name, given = node["value"], len(node["children"])
    if name not in FUNCTIONS:
        raise FaultError(f"There is no function `{name}`. {did_you_mean(name, FUNCTIONS)}")
    signature = FUNCTIONS[name]["signature"]
    wanted = len(signature)
    is_variadic = bool(signature and signature[-1].get("variadic"))
    if given < wanted or (given > wanted and not is_variadic):
        least = "at least " if is_variadic else ""
        plural = "" if wanted == 1 else "s"
        raise FaultError(f"`{name}` takes {least}{wanted} argument{plural}, not {given}.")
    for number, (argument, types) in enumerate(zip(node["children"], signature, strict=False), 1):
        is_reference = argument["type"] == "expref"
        if is_reference is not (types["types"] == ["expref"]):
            wants = "no & before" if is_reference else "an expression such as &name as"
            raise FaultError(f"`{name}` takes {wants} argument {number}.")


def _check_literal(node: Node) -> None:
    try:
        repr(node["value"]).encode()
        str(node["value"]).encode()
    except UnicodeEncodeError:
        raise FaultError(
            "The path holds half of a surrogate pair, which is not a character."
        ) from None


def compile_expression(tree: Node, text: str) -> Callable[[object, Work], object]:
    """Return a function of where the expression starts and the record's work.

    It gives None for what is absent, and raises UnmappableError for a type error.
    """
    interpreter = _Interpreter()
    interpreter.prepare(tree)
    visit = interpreter.visit

    def evaluate(start: object, work: Work) -> object:
        interpreter.work = work
        try:
            return visit(tree, start)
        except _FAILURES as error:
            raise UnmappableError(f"{text} cannot be evaluated: {_reason(error)}") from None

    return evaluate


def _reason(error: Exception) -> str:
    if isinstance(error, jmespath.exceptions.JMESPathTypeError):
        return f"{error.function_name}() got a value of type {error.actual_type}"
    if isinstance(error, RecursionError):
        return "it nests too deeply"
    return "it meets a value that it cannot handle"
