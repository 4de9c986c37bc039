"""``--help`` is in sections, and every word that is nearly right is answered with the right one."""

from __future__ import annotations

import re

import click
import pytest

from hugesync_producer.cli import SUBMIT, invoke, submit_command
from hugesync_producer.cli_help import OTHER_COMMANDS, OTHERS, SectionedCommand
from hugesync_producer.cli_jobs import hugesync_commands


def told(capsys: pytest.CaptureFixture[str], command: click.Command, *args: str) -> dict[str, str]:
    """Title of each section of the help → what stands below it."""
    assert invoke(command, "x", [*args, "--help"]) == 0
    out = capsys.readouterr().out
    parts = re.split(r"(?m)^(\S.*):$\n", out)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_the_options_of_submit_stand_in_sections_and_only_help_and_version_outside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    sections = told(capsys, submit_command)
    assert "--checksum" in sections["What is transferred"]
    assert "--exclude" in sections["What takes part"]
    assert "--delete" in sections["Deleting"]
    assert "--json" in sections["What is shown"]
    assert list(sections)[-1] == OTHERS
    assert re.findall(r"--[a-z-]+", sections[OTHERS]) == ["--version", "--help"]
    declared = {o for p in submit_command.params if isinstance(p, click.Option) for o in p.opts if o.startswith("--")}
    assert declared <= set(re.findall(r"--[a-z0-9-]+", "".join(sections.values())))


def test_every_command_stands_in_a_section_once(capsys: pytest.CaptureFixture[str]) -> None:
    sections = told(capsys, hugesync_commands)
    assert OTHER_COMMANDS not in sections
    del sections[OTHERS]
    named = [name for text in sections.values() for name in re.findall(r"(?m)^  ([a-z-]+)", text)]
    assert sorted(named) == sorted(hugesync_commands.commands)
    assert set(told(capsys, hugesync_commands, "uploads")) == {OTHERS, "Commands"}


@pytest.mark.parametrize("command", [c for c in hugesync_commands.commands if c != "uploads"])
def test_every_command_has_help_in_sections(capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert isinstance(hugesync_commands.commands[command], SectionedCommand)
    sections = told(capsys, hugesync_commands, command)
    assert "--help" in sections[OTHERS]


@pytest.mark.parametrize(
    ("command", "args", "meant"),
    [
        (hugesync_commands, ["stauts", "j"], "Did you mean 'status'?"),
        (hugesync_commands, ["status", "--jsn", "j"], "Did you mean '--json'?"),
        (submit_command, ["--dry-rnu", "a", "b"], "Did you mean '--dry-run'?"),
        (submit_command, ["--verify", "al", "a", "b"], "Did you mean 'all'?"),
        (submit_command, ["--on-conflict=skp", "a", "b"], "Did you mean 'skip'?"),
        (submit_command, ["--signature-missing", "generated", "a", "b"], "Did you mean 'generate'?"),
    ],
)
def test_a_near_miss_is_answered_with_what_was_meant(
    capsys: pytest.CaptureFixture[str], command: click.Command, args: list[str], meant: str
) -> None:
    assert invoke(command, SUBMIT, args) == 2
    assert meant in capsys.readouterr().err
