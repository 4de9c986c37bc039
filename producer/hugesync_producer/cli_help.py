"""``--help`` in sections: a command's options by ``grouped(..., section=)``, the group's commands by a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

OTHERS = "Options"
OTHER_COMMANDS = "Others"


def in_section(command: Any, section: str) -> Any:
    """Put the option that was declared last on ``command`` (a function, or a command made of one) into ``section``."""
    params: list[Any] = command.params if isinstance(command, click.Command) else command.__click_params__
    params[-1].section = section
    return command


class SectionedCommand(click.Command):
    """Lists options below the titles of their sections, which stand in the order of their first option; the others come
    last, ``--help`` among them."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        sections: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record is not None:
                sections.setdefault(getattr(param, "section", "") or OTHERS, []).append(record)
        for title in sorted(sections, key=lambda title: title == OTHERS):
            with formatter.section(title):
                formatter.write_dl(sections[title])


WHOLE = 200  # characters of a command's first sentence: it is wrapped, not cut


class SectionedGroup(click.Group):
    """A group whose commands stand in sections. ``sections``: title → names; what no section names stands below ``OTHER_COMMANDS``."""

    command_class = SectionedCommand
    sections: Mapping[str, tuple[str, ...]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for _, names in self.in_sections() for name in names]

    def in_sections(self) -> list[tuple[str, list[str]]]:
        """(title, the names of its commands that exist), none of them empty."""
        named = {name for names in self.sections.values() for name in names}
        rest = sorted(set(self.commands) - named)
        found = [(title, [n for n in names if n in self.commands]) for title, names in self.sections.items()]
        return [(title, names) for title, names in [*found, (OTHER_COMMANDS if found else "Commands", rest)] if names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self.commands), default=0)
        for title, names in self.in_sections():
            with formatter.section(title):
                rows = [(n, self.commands[n].get_short_help_str(WHOLE)) for n in names]
                formatter.write_dl([(name.ljust(width), said) for name, said in rows])
