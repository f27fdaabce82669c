"""Switches: how the PIM behaves where Akeneo's documents leave it open (akeneo.md §13)."""

from typing import Literal

import msgspec


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One value for each open question; the defaults are those that akeneo.md §13 recommends."""

    duplicate_in_batch: Literal["in_turn", "refuse"] = "in_turn"
    """1 The same code twice in a batch: 201 then 204, or 422 for the second."""
    hyphen_in_code: Literal["refuse", "accept"] = "refuse"
    """2 Whether an asset code may contain a hyphen."""
    case_of_codes: Literal["exact", "folded"] = "exact"
    """3 Whether `A` and `a` are one asset."""
    erased_value: Literal["omitted", "null"] = "omitted"
    """4 How GET shows a value that was erased."""
    unknown_family_on_bulk: Literal["404", "items"] = "404"
    """5 A bulk call to a family that is unknown: one 404, or a 422 for each item."""
    empty_array: Literal["accept", "refuse"] = "accept"
    """6 A bulk call with an empty list: 200 `[]`, or 400."""
    json_number: Literal["refuse", "accept"] = "refuse"
    """7 Whether a `number` attribute takes a JSON number."""
    short_date: Literal["refuse", "accept"] = "refuse"
    """8 Whether a `date` attribute takes `YYYY-MM-DD`."""
    missing_media_file: Literal["refuse", "accept"] = "refuse"
    """9 Whether a value may name a media file that was never uploaded."""
    delete_of_linked: Literal["accept", "refuse"] = "accept"
    """10 Deletion of an asset with a `product_ref`: carried out, or 422."""
    page_size: int = 100
    """11 How many items a page of a list has."""
    retry_after: Literal["alternate", "always", "never"] = "alternate"
    """12 Which answers 429 have a `Retry-After` header."""
    oversize: Literal["403", "413"] = "403"
    """13 The status of the answer to a body of more than 8 MB."""
    stored_before_cut: int | None = None
    """14 How many items a bulk call has stored when a fault cuts it, where the fault does not say.

    None: all.
    """
    empty_map: Literal["object", "list"] = "object"
    """15 How an empty map is written in JSON: `{}`, or PHP's `[]`."""
