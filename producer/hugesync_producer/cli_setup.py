"""``hugesync config`` and ``hugesync completion``: what is set, and how a shell completes the commands."""

from __future__ import annotations

import json
from typing import Any

import click

from hugesync_producer import human
from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import FLEET, grouped
from hugesync_producer.cli_run import Output, answer
from hugesync_producer.cli_showing import JSON, SHOWN
from hugesync_producer.cli_types import Choice
from hugesync_producer.streams import show
from hugesync_producer.table import print_table

NAME = "hugesync"
COMMANDS = ("hugesync", "hugesync-submit", "hugesync-worker", "hugesync-exporter")
SHELLS = ("bash", "zsh", "fish")
_DEBUG = grouped(click.option("--debug", is_flag=True, help="Show tracebacks."), section=SHOWN)


@click.command("config", cls=SectionedCommand)
@click.option(
    "--init", is_flag=True, default=False, help="Write a configuration file with every key in it, as comments."
)
@click.option("-f", "--force", is_flag=True, default=False, help="With --init: write over a file that exists.")
@FLEET
@JSON
@_DEBUG
def config_command(init: bool, force: bool, as_json: bool, **given: Any) -> int:
    """Show each setting, its effective value, and where that comes from; or begin a configuration file."""

    def begin() -> None:
        from hugesync_producer.configinit import write

        path = write(force)
        show(json.dumps({"file": str(path), "written": True}) if as_json else f"written: {human.name(str(path))}")

    def tell() -> None:
        from hugesync_producer.cli_request import settings_given
        from hugesync_tasks.config import config_file, provenance

        lines = provenance(settings_given(given))
        if as_json:
            show(json.dumps({line.key: {"value": line.value, "source": line.source} for line in lines}))
            return
        print_table(("KEY", "VALUE", "FROM"), ((line.key, line.value, line.source) for line in lines))
        show(f"configuration file: {config_file()}{'' if config_file().exists() else ' (does not exist)'}")

    def work() -> None:
        from hugesync_tasks.errors import UsageError

        if force and not init:
            raise UsageError("--force is of --init: give that too")
        if init and any(value is not None for value in (given["broker"], given["state"])):
            raise UsageError("--init writes the defaults, as comments: set broker_url and state_url in the file")
        begin() if init else tell()

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


@click.command("completion", cls=SectionedCommand)
@click.argument("shell", type=Choice(SHELLS))
def completion_command(shell: str) -> int:
    """Print what makes SHELL (bash, zsh or fish) complete all four commands, their options and paths.

    \b
    bash:  source <(hugesync completion bash)      in ~/.bashrc
    zsh:   source <(hugesync completion zsh)       in ~/.zshrc, after compinit
    fish:  hugesync completion fish | source       in ~/.config/fish/config.fish
    """

    def work() -> None:
        from click.shell_completion import get_completion_class

        made = get_completion_class(shell)
        assert made is not None
        for name in COMMANDS:  # the script asks the command itself, whatever version of it is there then
            variable = f"_{name.replace('-', '_').upper()}_COMPLETE"
            show(made(click.Command(name), {}, name, variable).source())

    return answer(Output(NAME), work)
