"""Links to other systems: what a template may say, and what it becomes."""

import pytest

from service.console.entry import Entry
from service.console.links import flaw_of_template, link_of


@pytest.mark.parametrize(
    "template",
    [
        "https://dam.example/{context.dam_id}",
        "http://localhost:8080/x?f={family}&c={code}",
        "https://pim.example/#/asset/{family}/{code}",
        "https://dam.example/{context.a.b}",
        "https://dam.example/{context.Asset ID}",
        "https://dam.example/fixed",
    ],
)
def test_a_template_is_accepted(template: str) -> None:
    assert flaw_of_template(template) is None


@pytest.mark.parametrize(
    ("template", "flaw"),
    [
        ("javascript:alert('{code}')", "must be an http"),
        ("data:text/html,{code}", "must be an http"),
        ("//dam.example/{code}", "must be an http"),
        ("dam.example/{code}", "must be an http"),
        ("https://dam.example/a b", "must be an http"),
        ("https://dam.example:x/", "must be an http"),
        ("https://{code}.example/", "without a placeholder"),
        ("https://dam.example{context.x}/", "without a placeholder"),
        ("https://dam.example{context.x/y}", "without a placeholder"),
        ("https://dam.example/{id}", "unknown placeholder {id}: use {code}, {family} or {context."),
        ("https://dam.example/{context.}", "unknown placeholder"),
        ("https://dam.example/{}", "unknown placeholder"),
        ("https://dam.example/{code", "brace"),
        ("https://dam.example/code}", "brace"),
    ],
)
def test_a_template_is_refused(template: str, flaw: str) -> None:
    assert flaw in (flaw_of_template(template) or "")


ENTRY = Entry(
    "e/0/0", 0, "applied", family="pack shots", code="a&b/c?d#e%é",
    context=(("dam_id", "../x"), ("dots", ".."), ("empty", ""), ("a.b", "7")),
)  # fmt: skip


@pytest.mark.parametrize(
    ("template", "link"),
    [
        (
            "https://d.example/{family}/{code}",
            "https://d.example/pack%20shots/a%26b%2Fc%3Fd%23e%25%C3%A9",
        ),
        ("https://d.example/{context.dam_id}", "https://d.example/..%2Fx"),
        ("https://d.example/?i={context.a.b}", "https://d.example/?i=7"),
        ("https://d.example/{context.dots}", None),
        ("https://d.example/{context.empty}", None),
        ("https://d.example/{context.missing}", None),
        ("", None),
    ],
)
def test_values_are_encoded_and_a_missing_one_makes_no_link(
    template: str, link: str | None
) -> None:
    assert link_of(template, ENTRY) == link
