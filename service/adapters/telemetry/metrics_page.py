"""The page `docs/metrics.md`, made from the catalogues of the programs."""

from collections.abc import Iterable, Iterator

from service.adapters.telemetry.catalogue import BY_NAME, CATALOGUE, Metric
from service.adapters.telemetry.console_catalogue import CONSOLE_CATALOGUE
from service.adapters.telemetry.ingress_catalogue import INGRESS_CATALOGUE
from service.adapters.telemetry.translate_catalogue import SHARED, TRANSLATE_CATALOGUE


def as_markdown() -> str:
    """Return the text of the page."""
    shared = ", ".join(f"`{BY_NAME[name].full_name}`" for name in SHARED)
    lines = [
        "# Metrics",
        "",
        "The metrics at `/metrics`, besides those of Python itself (`process_*`, `python_*`).",
        "This page is generated: `make schemas`.",
        "",
        "## asset-sync run",
        "",
        *_table(CATALOGUE),
        "",
        "## asset-sync translate",
        "",
        f"Also, with the same meaning: {shared}.",
        "",
        *_table(TRANSLATE_CATALOGUE),
        "",
        "## asset-sync ingress",
        "",
        *_table(INGRESS_CATALOGUE),
        "",
        "## asset-sync console",
        "",
        *_table(CONSOLE_CATALOGUE),
    ]
    return "\n".join(lines) + "\n"


def _table(metrics: Iterable[Metric]) -> Iterator[str]:
    yield "| metric | type | unit | labels | meaning |"
    yield "|---|---|---|---|---|"
    for metric in metrics:
        labels = "; ".join(
            f"`{name}`: {', '.join(value or '(none)' for value in values) or 'any'}"
            for name, values in metric.labels.items()
        )
        cells = (f"`{metric.full_name}`", metric.kind, metric.unit, labels, metric.meaning)
        yield f"| {' | '.join(cells)} |"
