"""The command line helps: examples for every command, and the nearest name for an unknown word."""

from __future__ import annotations

import argparse

import pytest

from runner.cli import _parser, main

COMMANDS = next(a for a in _parser()._actions if isinstance(a, argparse._SubParsersAction)).choices


def test_the_program_and_every_command_show_examples(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], *([name] for name in COMMANDS)):
        with pytest.raises(SystemExit) as end:
            main([*arguments, "--help"])
        assert end.value.code == 0
        said = capsys.readouterr().out
        assert "example" in said, arguments
        assert f"vicinal {' '.join(arguments)}" in said.partition("example")[2], arguments


@pytest.mark.parametrize(
    ("arguments", "meant"),
    [
        (["plt", "run"], "plot"),
        (["run", "star-9", "--virtul"], "--virtual"),
        (["completion", "bsh"], "bash"),
        (["reproduce", "chapter-4"], "chapter4"),
    ],
)
def test_an_unknown_word_gets_the_nearest(
    arguments: list[str], meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(arguments)
    assert end.value.code == 2
    assert f"(did you mean {meant}?)" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--zzzzzz", "--grid"])
def test_nothing_is_suggested_where_nothing_is_near_or_the_option_is_another_commands(
    option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["run", "star-9", option])
    assert "did you mean" not in capsys.readouterr().err
