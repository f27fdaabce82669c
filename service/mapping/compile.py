"""Compile a source of the file into the functions that map its records.

Everything that can be known about a source is decided here, once: which defaults a rule takes, what
`on_delete` and `on_archive` have become, and every fault. What is left for an event are closures.
"""

from collections.abc import Mapping

from service.mapping.compile_rule import compile_items, compile_rule
from service.mapping.compiler import Compiler, Table
from service.mapping.conditions import compile_optional
from service.mapping.event_facts import compile_facts
from service.mapping.faults import DocumentPath, Fault, Locate
from service.mapping.file.model import TOMBSTONE, Source
from service.mapping.opening import compile_opening
from service.mapping.results import MappedSource
from service.mapping.rules import CompiledRule
from service.mapping.source import CompiledSource
from service.mapping.trace import Trace


def compile_source(
    name: str,
    source: Source,
    tables: Mapping[str, Table],
    where: Locate,
    trace: Trace | None = None,
) -> MappedSource | tuple[Fault, ...]:
    """Return the compiled source, or all its faults.

    `where` returns the line of a part, such as `sources.yaml line 58`, for messages. With a
    `trace`, the source notes there how it makes each value.
    """
    compiler = Compiler(tables, where, trace)
    at: DocumentPath = ("sources", name)
    rules = _rules(source, at, compiler)
    compiled = CompiledSource(
        name=name,
        where=compile_optional(source.where, (*at, "where"), compiler),
        items=compile_items(source.for_each, (*at, "for_each"), compiler),
        only=compile_optional(source.only, (*at, "only"), compiler),
        rules=rules,
        has_rules_with_items=any(rule.items is not None for rule in rules),
        facts=compile_facts(source.event, (*at, "event"), compiler),
        identity_path=None
        if source.identity is None
        else compiler.path(source.identity, (*at, "identity")),
        tombstone=_tombstone(source, at, compiler),
        open=compile_opening(source, at, compiler),
    )
    return tuple(compiler.faults) or compiled


def _rules(source: Source, at: DocumentPath, compiler: Compiler) -> tuple[CompiledRule, ...]:
    return tuple(
        compile_rule(rule, rule.name or str(index + 1), source, (*at, "rules", index), compiler)
        for index, rule in enumerate(source.rules)
    )


def _tombstone(source: Source, at: DocumentPath, compiler: Compiler) -> CompiledRule | None:
    """Return what a tombstone becomes: a delete, or what `on_delete` makes of it."""
    if source.tombstones == "skip":
        return None
    return compile_rule(TOMBSTONE, None, source, (*at, "tombstones"), compiler)
