"""docs/commands.md is what the commands declare, and leaves none of it out."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from docs import commands_page
from docs.commands_page import COMMANDS, flat, page, section

PAGE = Path(__file__).parent.parent / "docs/commands.md"


def test_the_page_says_what_the_commands_declare() -> None:
    assert PAGE.read_text() == page(), "run: make docs"


def test_every_command_of_the_package_is_there_with_every_option() -> None:
    contexts = [context for name, command in COMMANDS for context in flat(command, name)]
    assert {"hugesync-submit", "hugesync", "hugesync-worker", "hugesync-exporter", "hugesync uploads abort"} <= {
        c.command_path for c in contexts
    }
    for context in contexts:
        told = PAGE.read_text().split(f"\n## {context.command_path}\n")[1].split("\n## ")[0]
        for option in context.command.get_params(context):
            if isinstance(option, click.Option) and not option.hidden:
                assert all(name.strip() in told for name in [*option.opts, *option.secondary_opts])


def test_a_new_option_makes_another_page_and_a_hidden_one_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    @click.option("--rate", metavar="N|P%", help="Not more than *this*.", default=5, show_default=True)
    @click.option("--secret", hidden=True)
    def other(rate: int, secret: str) -> None:
        """Do <things>: slowly.

        \b
        Exit codes: 0 done,
        1 not.
        """

    before = page()
    text = section(click.Context(other, info_name="other"))
    assert "| `--rate N\\|P%` | Not more than \\*this\\*. [default: 5] |" in text
    assert "\nDo \\<things>: slowly.\n" in text
    assert "```text\nExit codes: 0 done,\n1 not.\n```" in text
    assert "secret" not in text
    monkeypatch.setattr(commands_page, "COMMANDS", (*COMMANDS, ("other", other)))
    assert page() != before
    assert page().endswith(text)
