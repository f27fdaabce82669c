"""The requests of one call and what their answers mean (architecture.md D6, D7).

Rule 1: an exchange yields a request, is sent the answer, and returns a result at its end.
Rule 2: a throttled or cancelled request has no answer. The exchange is kept and the same request
is sent again later, so that the exchange ends even if the PIM allows one request per second.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from service.contracts.outcome import DELETE, UPSERT, Action
from service.core.group.shape import Structure
from service.core.inputs import Answer, CallReply
from service.core.requests import (
    CreateOption,
    GetAttributes,
    GetFamilies,
    GetFamily,
    GetOptions,
    Request,
    Steps,
    UploadFile,
)
from service.core.send.families import Families
from service.core.send.verdict import is_unknown, is_well, judge, judge_upload
from service.core.values import Attribute
from service.core.verdict_types import (
    Absent,
    Failure,
    Forbidden,
    Missing,
    PimResponse,
    Suspicious,
    UnknownFamily,
    Verdict,
)


def write(
    request: Request, action: Action, family: str, codes: Sequence[str], known: Families
) -> Steps[Verdict]:
    """Write these assets; after a 404, find out whether the family or the asset is missing."""
    answer, at = yield request
    verdict = judge(action, codes, answer)
    if isinstance(verdict, Forbidden) and len(codes) == 1:
        return Suspicious(verdict.failure)
    if not isinstance(verdict, Missing):
        return verdict
    response = verdict.response
    lacks_family = known.lacks(family, at)
    if action == UPSERT and lacks_family:
        return UnknownFamily(response)
    if action == DELETE and known.is_seen(family, at) and not lacks_family:
        return Absent(response)
    answer, at = yield GetFamily(family)
    if action == DELETE and is_well(answer):
        return Absent(response)
    if is_unknown(answer) and (known.lacks(family, at) or (yield from _is_unlisted(family))):
        return UnknownFamily(response)
    return Suspicious(Failure("pim_error", response))


def _is_unlisted(family: str) -> Steps[bool]:
    """Return whether the PIM works, and its list of families does not name this one."""
    answer, _ = yield GetFamilies()
    return is_well(answer) and not _is_listed(family, answer)


def upload(request: UploadFile) -> Steps[Verdict]:
    """Upload a file; the PIM answers with its code."""
    answer, _ = yield request
    return judge_upload(answer)


def _is_listed(family: str, answer: Answer) -> bool:
    """Return whether a complete list of families names this one."""
    return isinstance(answer, CallReply) and family in (answer.families or ())


def write_as_probe(steps: Steps[Verdict], family: str) -> Steps[Verdict]:
    """Write while the breaker is open; without a judgement, find out whether GETs succeed."""
    verdict = yield from steps
    if not isinstance(verdict, Suspicious):
        return verdict
    answer, _ = yield GetFamily(family)
    return Suspicious(verdict.failure, is_pim_well=is_well(answer))


class Unreadable(NamedTuple):
    """The family's structure could not be fetched, or is hidden from this connection."""


def fetch_structure(family: str, known: Families) -> Steps[Structure | UnknownFamily | Unreadable]:
    """Fetch a family's attributes, and then the options of each attribute that has options."""
    answer, at = yield GetAttributes(family)
    if is_unknown(answer):
        assert isinstance(answer, CallReply)
        response = PimResponse(answer.status, answer.message, answer.errors)
        is_denied = known.lacks(family, at) or (yield from _is_denied(family))
        return UnknownFamily(response) if is_denied else Unreadable()
    # Every family has a label attribute: an empty list means that this connection may not see it.
    if not isinstance(answer, CallReply) or answer.status != 200 or not answer.attributes:
        return Unreadable()
    attributes = {attribute.code: attribute for attribute in answer.attributes}
    options = yield from _fetch_options(family, attributes.values())
    return Unreadable() if options is None else Structure(attributes, options)


def _is_denied(family: str) -> Steps[bool]:
    """Return whether the PIM works and does not have the family."""
    answer, _ = yield GetFamilies()
    if not is_well(answer):
        return False
    assert isinstance(answer, CallReply)
    if answer.families is not None:
        return family not in answer.families
    answer, _ = yield GetFamily(family)
    return is_unknown(answer)


def _fetch_options(
    family: str, attributes: Iterable[Attribute]
) -> Steps[dict[str, frozenset[str]] | None]:
    options: dict[str, frozenset[str]] = {}
    for attribute in attributes:
        if not attribute.has_options:
            continue
        answer, _ = yield GetOptions(family, attribute.code)
        if not isinstance(answer, CallReply) or answer.status != 200 or answer.options is None:
            return None
        options[attribute.code] = answer.options
    return options


def create_option(request: CreateOption) -> Steps[Answer]:
    """Create an option, and return the PIM's answer."""
    answer, _ = yield request
    return answer


def log_in() -> Steps[Answer]:
    """Fetch the list of families, which shows early whether the PIM accepts the credentials."""
    answer, _ = yield GetFamilies()
    return answer
