"""The context of a change: what its outcome repeats."""

from collections.abc import Callable, Mapping

from msgspec import Raw

from service.contracts.asset_change import CONTEXT_BYTES_MAX
from service.contracts.text import DEPTH_MAX, is_too_deep
from service.mapping.compiler import Compiler
from service.mapping.endings import ItemEndedError
from service.mapping.faults import DocumentPath
from service.mapping.json_values import ABSENT, encode
from service.mapping.scope import Scope

ContextOf = Callable[[Scope], Raw | None]
"""Return the JSON object, or None if the event has nothing of it."""


def compile_context(
    paths: Mapping[str, str] | None, at: DocumentPath, compiler: Compiler
) -> ContextOf | None:
    """Return the function of a context, or None if there is to be none."""
    if not paths:
        return None
    named = [(name, compiler.located_path(text, (*at, name))) for name, text in paths.items()]

    def context_of(scope: Scope) -> Raw | None:
        found = {name: value for name, path in named if (value := path(scope)) is not ABSENT}
        return _encoded(found) if found else None

    return context_of


def _encoded(found: Mapping[str, object]) -> Raw:
    try:
        text = encode(found)
    except RecursionError:
        raise _too_deep() from None
    if len(text) > CONTEXT_BYTES_MAX:
        raise ItemEndedError(
            "rejected",
            "too_large",
            f"The context has {len(text):,} bytes; at most {CONTEXT_BYTES_MAX:,} are allowed.",
        )
    if is_too_deep(text):
        raise _too_deep()
    return Raw(text)


def _too_deep() -> ItemEndedError:
    return ItemEndedError(
        "rejected", "too_large", f"The context nests more than {DEPTH_MAX} levels deep."
    )
