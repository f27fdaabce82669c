"""Compile a rule, with what it takes from its source."""

from dataclasses import dataclass

from service.mapping.attributes import Fill, compile_attribute, constants
from service.mapping.compiler import Compiler
from service.mapping.conditions import compile_optional
from service.mapping.context import compile_context
from service.mapping.faults import DocumentPath
from service.mapping.file.model import Instead, Rule, Source
from service.mapping.naming import NameOf, compile_code, compile_family
from service.mapping.rules import Asking, CompiledRule, Do, Items, Naming, Root
from service.mapping.templates import compile_template

DEFAULTS = (
    "missing",
    "family",
    "families",
    "no_family",
    "code",
    "values",
    "context",
    "fetch",
)
"""The keys that a rule takes from its source unless it has its own."""


def compile_rule(
    rule: Rule, name: str | None, source: Source, at: DocumentPath, compiler: Compiler
) -> CompiledRule:
    """Return the compiled rule; `at` is the rule's own, which begins with that of its source."""
    taken = [key for key in DEFAULTS if getattr(rule, key) is None]
    effective = rule.model_copy(update={key: getattr(source, key) for key in taken})
    return _RuleCompiler(
        rule=effective,
        name=name,
        source=source,
        at=at,
        taken=frozenset(taken),
        compiler=compiler,
    ).compiled()


def compile_items(path: str | None, at: DocumentPath, compiler: Compiler) -> Items | None:
    """Return the items of an event, or None if it is its own and only item."""
    if path is None:
        return None
    return Items(compiler.located_path(path, at), path, compiler.where(at))


@dataclass(frozen=True, slots=True)
class _RuleCompiler:
    rule: Rule
    """The rule with the defaults of its source."""
    name: str | None
    source: Source
    at: DocumentPath
    taken: frozenset[str]
    compiler: Compiler

    def compiled(self) -> CompiledRule:
        do, instead = self._resolved()
        when = compile_optional(self.rule.when, (*self.at, "when"), self.compiler)
        items = compile_items(self.rule.for_each, (*self.at, "for_each"), self.compiler)
        if do in {"skip", "reject"}:
            return CompiledRule(self.name, when, items, do, self._because(do))
        return CompiledRule(
            name=self.name,
            when=when,
            items=items,
            do=do,
            because="",
            naming=self._naming(),
            root=self._root(),
            fills=self._fills() if do == "upsert" and instead is None else (),
            constants=constants((self.rule.set if instead is None else instead.set) or {}),
            context=compile_context(self.rule.context, self._at_key("context"), self.compiler),
            asking=self._asking() if do == "upsert" else None,
        )

    def _at_key(self, key: str) -> DocumentPath:
        """Return where a key stands: at the rule, or at its source."""
        at_source: DocumentPath = self.at[:2]
        return (*(at_source if key in self.taken else self.at), key)

    def _root(self) -> Root | None:
        if self.rule.root is None:
            return None
        at = self._at_key("root")
        return Root(self.compiler.located_path(self.rule.root, at), self.compiler.where(at))

    def _resolved(self) -> tuple[Do, Instead | None]:
        """Return what `do` has become, and the values that are written instead of a delete."""
        do = self.rule.do
        if do == "delete":
            become = self.source.on_delete
        elif do == "archive":
            become = self.source.on_archive
        else:
            return do, None
        return ("upsert", become) if isinstance(become, Instead) else (become, None)

    def _because(self, do: Do) -> str:
        if self.rule.because is not None:
            return self.rule.because
        by = "" if self.name is None else f" by rule {self.name}"
        if self.rule.do in {"delete", "archive"}:
            return f"`on_{self.rule.do}` is skip: the {self.rule.do}{by} changes nothing."
        return f"The event is {'skipped' if do == 'skip' else 'rejected'}{by}."

    # --- which asset -------------------------------------------------------------------------

    def _naming(self) -> Naming:
        assert self.rule.code is not None, "the checks of the file refuse this"
        at = self._at_key("code")
        return Naming(
            family=self._family(),
            families=tuple(self.rule.families or ()),
            code=compile_code(self.rule.code, at, self.compiler, self.rule.name),
        )

    def _family(self) -> NameOf | None:
        if self.rule.family is None:
            return None
        return compile_family(
            self.rule.family,
            self._at_key("family"),
            self.compiler,
            self.rule.name,
            may_lack=self.rule.no_family != "reject",
        )

    # --- values ------------------------------------------------------------------------------

    def _fills(self) -> tuple[Fill, ...]:
        missing = self.rule.missing or "leave"
        return tuple(
            compile_attribute(
                attribute,
                values,
                missing,
                (*self._at_key("values"), attribute),
                self.compiler,
                self.rule.name,
            )
            for attribute, values in (self.rule.values or {}).items()
        )

    # --- read back ---------------------------------------------------------------------------

    def _asking(self) -> Asking | None:
        fetch, at = self.rule.fetch, self._at_key("fetch")
        if fetch is None:
            return None
        url = (*at, "url")
        return Asking(
            host=fetch.host,
            url=compile_template(fetch.url, url, self.compiler, is_url=True),
            where=self.compiler.where_in(self.rule.name, url),
            delay_seconds=fetch.delay_seconds,
            only=compile_optional(fetch.only, (*at, "only"), self.compiler),
            not_found=fetch.not_found,
        )
