"""What the parts of the compiler share: the tables, the faults found so far, and the trace."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.mapping.endings import UnmappableError
from service.mapping.faults import DocumentPath, Fault, FaultError, Locate
from service.mapping.paths import ParsedPath, compile_path, parse_path
from service.mapping.scope import Path, Root, Scope, nothing
from service.mapping.trace import Trace

Table = Mapping[str, str | list[str]]


class Compiler:
    """Compiles the texts of one source, and collects the faults instead of stopping at the first.

    What is faulty is replaced by something without effect, since the source will not be used.
    """

    def __init__(self, tables: Mapping[str, Table], where: Locate, trace: Trace | None) -> None:
        self.tables = tables
        self.where = where
        self.trace = trace
        self.faults: dict[Fault, None] = {}
        """A dict, because rules that share a default would give its faults again."""
        self.roots: set[Root] = set()
        """The roots that the paths so far start from."""

    def where_in(self, rule: str | None, at: DocumentPath) -> str:
        """Return the line of a part, with the rule for which it is used if that has a name."""
        return self.where(at) + (f", rule {rule}" if rule else "")

    def fault(self, at: DocumentPath, message: str) -> None:
        self.faults[Fault(at, message)] = None

    @contextmanager
    def noting_faults(self, at: DocumentPath) -> Iterator[None]:
        """Turn a `FaultError` into a fault of the part at `at`."""
        try:
            yield
        except FaultError as error:
            self.fault(at, str(error))

    def path(self, text: str, at: DocumentPath) -> Path:
        parsed = self.parsed_path(text, at)
        return nothing if parsed is None else compile_path(parsed)

    def located_path(self, text: str, at: DocumentPath) -> Path:
        """Return a path whose errors name the line of the file; a value names its own line."""
        parsed = self.parsed_path(text, at)
        if parsed is None:
            return nothing
        path = compile_path(parsed)
        return path if parsed.tree is None else _located(path, self.where(at))

    def parsed_path(self, text: str, at: DocumentPath) -> ParsedPath | None:
        with self.noting_faults(at):
            parsed = parse_path(text)
            self.roots.add(parsed.root)
            return parsed
        return None


def _located(path: Path, where: str) -> Path:
    def located(scope: Scope) -> object:
        try:
            return path(scope)
        except UnmappableError as error:
            raise UnmappableError(f"{error.message} ({where})") from None

    return located
