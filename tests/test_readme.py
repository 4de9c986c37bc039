"""What the pages for users say can be typed and followed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from hugesync_producer.cli import submit_command
from hugesync_producer.cli_jobs import hugesync_commands
from hugesync_tasks.summary import State

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = [
    shlex.split(line, comments=True)
    for page in PAGES
    for line in re.findall(r"(?m)^    (hugesync-submit .*)$", page.read_text())
]


def flat(command: click.Command) -> list[click.Command]:
    """A command, and those below it."""
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return [command, *(deeper for one in below for deeper in flat(one))]


def test_there_are_five_examples_or_more() -> None:
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_an_example_is_accepted_by_the_command(command: list[str]) -> None:
    context = submit_command.make_context("hugesync-submit", command[1:])

    assert context.params["source"]
    assert context.params["dest"]


def test_every_command_that_the_readme_names_exists_and_every_command_is_named() -> None:
    named = set(re.findall(r"`hugesync ([\w-]+)[^`]*`", PAGES[0].read_text()))

    assert named == set(hugesync_commands.commands)


def test_the_readme_names_no_option_that_does_not_exist_except_what_is_not_there_yet() -> None:
    text = PAGES[0].read_text().split("## How it compares")[0]
    known = {o for c in [submit_command, *flat(hugesync_commands)] for p in c.params for o in p.opts}
    known |= {"--root"}  # hugesync-worker

    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", text)) <= known


def test_the_table_of_exit_codes_is_the_one_in_force() -> None:
    rows = re.findall(r"(?m)^\| (\d+) \| ([^|]+) \|", PAGES[0].read_text())

    told = {State(state): int(code) for code, states in rows for state in re.findall(r"`(\w+)`", states)}

    assert told == {state: state.exit_code for state in State}


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_option_is_explained() -> None:
    for command in [submit_command, *flat(hugesync_commands)]:
        assert command.help
        for parameter in command.params:
            assert not isinstance(parameter, click.Option) or parameter.help
