"""A PIM over HTTP, faithful to akeneo.md: for the demo, the tests, and whoever integrates (D10).

`structure` what families and attributes there are · `values` what an asset may hold · `tokens`
who may call · `faults` what goes wrong on demand · `switches` what nobody knows of the real one ·
`simulator` the routes · `openapi` their description.
"""
