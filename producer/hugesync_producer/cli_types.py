"""What option values and arguments are, beyond click's own: how a shell completes them, and what is said of a near miss."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

import click
from click.shell_completion import CompletionItem


class Place(click.ParamType[str]):
    """A path or a URL, passed on as typed. A shell completes it as a path."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return value

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem[Any]]:
        return [CompletionItem(incomplete, type="file")]


class Choice(click.Choice[str]):
    """One of a few words; a near miss is told which was meant."""

    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        said = super().get_invalid_choice_message(value, ctx)
        close = get_close_matches(str(value), list(self.choices), n=1)
        return f"{said} Did you mean {close[0]!r}?" if close else said


PLACE = Place()
