"""What the documents leave open of the real PIM, each as a switch (akeneo.md §13)."""

from typing import Literal

import msgspec


class Switches(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Defaults as akeneo.md §13 recommends them."""

    duplicate_in_batch: Literal["in_turn", "refuse"] = "in_turn"
    """1 The same code twice in a batch: 201 then 204, or 422 for the second."""
    hyphen_in_code: Literal["refuse", "accept"] = "refuse"
    """2 A hyphen in an asset code."""
    case_of_codes: Literal["exact", "folded"] = "exact"
    """3 Whether `A` and `a` are one asset."""
    erased_value: Literal["omitted", "null"] = "omitted"
    """4 How GET shows a value that was erased."""
    unknown_family_on_bulk: Literal["404", "items"] = "404"
    """5 A bulk call to a family that is unknown: one 404, or a 422 for each item."""
    empty_array: Literal["accept", "refuse"] = "accept"
    """6 A bulk call of nothing: 200 `[]`, or 400."""
    json_number: Literal["refuse", "accept"] = "refuse"
    """7 A JSON number as the data of a `number` attribute."""
    short_date: Literal["refuse", "accept"] = "refuse"
    """8 `YYYY-MM-DD` as the data of a `date` attribute."""
    missing_media_file: Literal["refuse", "accept"] = "refuse"
    """9 The code of a media file that was never uploaded."""
    delete_of_linked: Literal["accept", "refuse"] = "accept"
    """10 Deleting an asset with a `product_ref`: done, or 422."""
    page_size: int = 100
    """11 Items on a page of a list."""
    retry_after: Literal["alternate", "always", "never"] = "alternate"
    """12 Whether a 429 says when to come back."""
    oversize: Literal["403", "413"] = "403"
    """13 The answer to a body of more than 8 MB."""
    stored_before_cut: int | None = None
    """14 Items that a bulk call has stored when a fault cuts it; a fault may say. None: all."""
    empty_map: Literal["object", "list"] = "object"
    """15 An empty map in JSON: `{}`, or PHP's `[]`."""
