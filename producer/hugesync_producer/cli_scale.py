"""``hugesync scale``: grow, shrink and pause the workers of a fleet while they work."""

from __future__ import annotations

import json
from typing import Any

import click

from hugesync_producer.cli_help import SectionedCommand
from hugesync_producer.cli_options import FLEET, grouped
from hugesync_producer.cli_run import Output, answer
from hugesync_producer.cli_showing import JSON, SHOWN
from hugesync_producer.streams import show
from hugesync_tasks.errors import UsageError

NAME = "hugesync scale"
MOST = 1024  # as the setting has it
PLAN = "plan"


@click.command("scale", cls=SectionedCommand)
@click.argument("children", metavar="N")
@grouped(
    click.option(
        "--worker",
        metavar="WORKER",
        default="",
        help="Only the worker of this name, or all of this host.  [default: all, and those that come later]",
    ),
    section="What takes part",
)
@FLEET
@JSON
@grouped(click.option("--debug", is_flag=True, help="Show tracebacks."), section=SHOWN)
def scale_command(children: str, worker: str, as_json: bool, **given: Any) -> int:
    """Let each worker have N child processes from now on; 0 pauses it, plan lets it have what it finds right itself.

    Children that are too many end when they have finished what they have in hand, and nothing is begun anew. What is said of all
    workers takes back what was said of single ones. It holds until the next hugesync scale, also for workers that start later;
    for a single worker, as long as that one runs.
    """

    def work() -> None:
        from hugesync_producer.cli_request import settings_given
        from hugesync_producer.scaling import scale
        from hugesync_tasks.config import load

        slots = _slots(children)
        done = scale(load(settings_given(given)), slots, worker)
        if as_json:
            show(json.dumps({"slots": None if slots < 0 else slots, "workers": list(done.workers)}))
            return
        wish = {-1: "as many child processes as planned", 0: "to pause"}.get(slots, f"{slots} child processes")
        for name, now in done.workers.items():
            show(f"worker {name} was told {wish if slots == 0 else f'to have {wish}'} (now {now})")
        if not done.workers:
            show("no worker is there now; those that come are told " + (wish if slots == 0 else f"to have {wish}"))

    return answer(Output.of(NAME, {**given, "as_json": as_json}), work)


def _slots(text: str) -> int:
    from hugesync_tasks.state.base import AS_PLANNED

    if text == PLAN:
        return AS_PLANNED
    if not (text.isascii() and text.isdigit()) or int(text) > MOST:
        raise UsageError(f"{text!r} is no number of child processes: 0 to {MOST}, or {PLAN}")
    return int(text)
