"""The sources file: how it is read, what may stand in it, and what is wrong with it.

`text` reads YAML with the line and column of everything, `model` says what may stand where, and
`load` puts both together with the profiles and the compiler of `service.mapping`.
"""
