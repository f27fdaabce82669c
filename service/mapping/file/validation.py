"""Checks the data of a sources file against its model, and says in plain words what is wrong."""

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from service.mapping.faults import DocumentPath, Fault, did_you_mean
from service.mapping.file.fields import PATTERNS
from service.mapping.file.model import SourcesFile
from service.mapping.file.schema import keys_at

_A_KEY = "[key]"
"""The last step of pydantic's path to an error in a key."""

_MAP = "should be a map (`key: value`)"
_WORDS = {
    "bool_type": "should be true or false",
    "dict_type": _MAP,
    "float_type": "should be a number",
    "int_type": "should be a whole number",
    "list_type": "should be a list",
    "model_type": _MAP,
    "string_too_short": "should not be empty",
    "string_type": "should be a text; put numbers, true and false into quotes",
    "too_short": "should not be empty",
}
"""What is wrong, by pydantic's name of an error."""
_SHORT_FORMS = frozenset({"Value", "AttributeValue"})
"""Maps for which a text may stand."""


def validate(data: object) -> SourcesFile | tuple[Fault, ...]:
    """Return the file as its model, or everything that is wrong with it."""
    try:
        return SourcesFile.model_validate(data)
    except ValidationError as error:
        return tuple(_fault(data, detail) for detail in error.errors(include_url=False))


def _fault(data: object, detail: ErrorDetails) -> Fault:
    path, missing = _document_path(data, detail["loc"])
    if detail["type"] == "extra_forbidden":
        hint = did_you_mean(str(path[-1]), keys_at(path[:-1]))
        return Fault(path, f"Unknown key `{path[-1]}`. {hint}", is_about_key=True)
    if detail["type"] == "missing":
        return Fault(path, _with_subject(path, f"the key `{missing[-1]}` is missing"))
    is_about_key = missing[-1:] == (_A_KEY,)
    return Fault(path, _with_subject(path, _words(detail)), is_about_key=is_about_key)


def _document_path(data: object, loc: tuple[str | int, ...]) -> tuple[DocumentPath, DocumentPath]:
    """Return the steps that lead through the data, and those behind them that it does not have.

    Steps that the model has and the document has not (the long form of a short one) are left out.
    """
    path: list[str | int] = []
    behind: list[str | int] = []
    for step in loc:
        match data:
            case dict() if step in data:
                data = data[step]
            case list() if isinstance(step, int) and step < len(data):
                data = data[step]
            case _:
                behind.append(step)
                continue
        path.append(step)
        behind.clear()
    return tuple(path), tuple(behind)


def _with_subject(path: DocumentPath, words: str) -> str:
    names = [step for step in path if isinstance(step, str)]
    return f"`{names[-1]}`: {words}." if names else f"The file: {words}."


def _words(detail: ErrorDetails) -> str:
    context = detail.get("ctx", {})
    match detail["type"]:
        case "literal_error":
            return f"should be {context['expected']}"
        case "string_pattern_mismatch":
            return f"should be {PATTERNS[context['pattern']]}"
        case "model_type" if context["class_name"] in _SHORT_FORMS:
            return "should be a text or a map (`key: value`)"
        case kind if kind in _WORDS:
            return _WORDS[kind]
    return detail["msg"].removeprefix("Value error, ").replace("Input should", "should")
