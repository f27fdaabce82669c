"""The hosts of the sources file over HTTP: assets are read from a DAM when its events are thin."""
