"""The help of every command, on every level."""

from collections.abc import Iterator

import click

from service.cli import SECTIONS, main

Level = tuple[str, ...]


def levels(command: click.Command, words: Level = ()) -> Iterator[tuple[Level, click.Command]]:
    """Every command with the words that a person types for it."""
    yield words, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None, name
            yield from levels(inner, (*words, name))


def test_every_command_says_what_it_does_and_takes() -> None:
    """A sentence about it, and a line for each option and each command below it."""
    for words, command in levels(main):
        name = " ".join(("asset-sync", *words))
        shown = command.get_help(click.Context(command, info_name=name))

        assert shown.startswith(f"Usage: {name} ")
        assert command.get_short_help_str().rstrip("."), name
        assert shown.isascii(), "click writes UTF-8 whatever the terminal is"
        for option in command.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, (name, option.opts)
                assert option.opts[-1] in shown
        if isinstance(command, click.Group):
            for inner in command.list_commands(click.Context(command)):
                assert f"\n  {inner} " in shown, name


def test_every_command_has_a_line_of_its_own() -> None:
    """The list of commands imports none of them, and wraps no sentence at 80 columns."""
    shown = main.get_help(click.Context(main)).splitlines()
    for title, commands in SECTIONS.items():
        assert f"{title}:" in shown
        for name, text in commands.items():
            assert text.endswith(".")
            assert [line.split(maxsplit=1) for line in shown].count([name, text]) == 1
            assert main.get_command(click.Context(main), name) is not None
