"""The sources file, and what it makes of a raw record: pure, without I/O, clock or framework.

An event's way: `opening` (bytes become an event), `source` (which items), `rules` (what becomes of
an item), `naming` (of which asset), `attributes` (its values by locale and channel), `values` and
`steps` (one value), `paths` and `expressions` (where it stands in the event).

`file` reads the sources file, `compile` makes a source of it, with everything decided that can be
known before an event: what is left for an event are closures. `results` says what goes in and what
comes out; `work` bounds what an event may cost.
"""
