"""A PIM over HTTP that follows docs/akeneo.md: for the demo, the tests and integrators (D10).

State: `simulator` holds it, with `structure` (families and attributes), `assets`, `values` (what
an asset may hold), `tokens`, `faults` (failures on demand) and `switches` (what Akeneo's documents
leave open).

HTTP: `server` serves the routes of `family_routes`, `asset_routes`, `media_routes` and
`control_routes`; calls to the API pass `frame` first. `routes` and `responses` are shared by them.
"""
