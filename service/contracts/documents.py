"""The addresses of the project's pages, for texts that are read far from its files."""

HOME = "https://asset-sync.example"
"""The project's address; tests hold it together with pyproject.toml and the chart.

It is a stand-in until the project is published: names under `.example` belong to nobody (RFC 2606),
and the release workflow refuses to publish one.
"""


def page(name: str, anchor: str) -> str:
    """Return the address of a section of a page in docs/, such as `reasons.md` and `timeout`."""
    return f"{HOME}/docs/{name}#{anchor}"
