"""``hugesync-exporter``, and the process that every worker with a ``metrics_port`` starts for itself: metrics and health over HTTP.

By itself it tells what the ledger knows of the fleet, also at zero workers. Of a worker it tells that worker's figures as well, and it
ends with it.
"""

from __future__ import annotations

import logging
import shutil
import signal
import sys
from collections.abc import Callable
from functools import partial
from threading import Event, Thread
from typing import Any

import click

from hugesync_tasks import __version__, endpoint, logs
from hugesync_tasks.config import Settings, load, option_help
from hugesync_tasks.endpoint import CannotServe, Endpoint, Page, Pages
from hugesync_tasks.errors import HugeSyncError
from hugesync_tasks.state.opening import open_ledger
from hugesync_tasks.vitals import Vitals
from hugesync_worker.figures import LOOK_EVERY, LedgerFigures

PORT = 9464  # where none is set, of hugesync-exporter
BIND_EVERY = 10.0  # seconds: whoever has the port of a worker may end

log = logging.getLogger(__name__)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--broker", "broker_url", help=option_help("broker_url"))
@click.option("--state", "state_url", help=option_help("state_url"))
@click.option("--metrics-port", type=int, help=f"Port on which it answers.  [default: {PORT}]")
@click.option("--metrics-host", help=option_help("metrics_host"))
@click.option("--log-format", type=click.Choice(["text", "json"]), help=option_help("log_format"))
@click.option("--worker", "name", default="", hidden=True, help="The worker that it speaks for.")
@click.option("--parent", type=int, default=0, hidden=True, help="That worker's process.")
@click.option("--life-fd", type=int, default=-1, hidden=True, help="End when this pipe closes: the worker is gone.")
@click.option("--folder", default="", hidden=True, help="What it shares with the worker.")
@click.option("--log-level", default="INFO", hidden=True)
@click.version_option(__version__, prog_name="hugesync-exporter", message="%(prog)s %(version)s")
def main(name: str, parent: int, life_fd: int, folder: str, log_level: str, **given: Any) -> None:
    """Serve the figures of a fleet, from its ledger: /metrics for Prometheus, /work for KEDA, /livez and /readyz.

    It needs no worker, so it can tell that there is work where none is. Workers with a `metrics_port` answer the same and their own.
    """
    try:
        settings = load(given)
        logs.configure(log_level, settings.log_format, with_process=bool(name))
        if not settings.broker_url:
            raise click.UsageError(
                "an exporter needs a broker: --broker URL, HUGESYNC_BROKER_URL or the configuration file"
            )
        ended = Event()
        signal.signal(signal.SIGTERM, lambda *_: ended.set())
        signal.signal(signal.SIGINT, signal.SIG_IGN if name else lambda *_: ended.set())
        if name:
            from hugesync_worker.ofworker import OfWorker

            try:
                OfWorker(settings, name, parent, Vitals(folder)).serve(ended, life_fd)
            finally:
                shutil.rmtree(folder, ignore_errors=True)
        else:
            standalone(settings, ended)
    except CannotServe as error:
        click.echo(f"hugesync-exporter: {error}", err=True)
        sys.exit(5)
    except HugeSyncError as error:
        click.echo(f"hugesync-exporter: {error}", err=True)
        sys.exit(error.exit_code)


def standalone(settings: Settings, ended: Event) -> None:
    """Raises CannotServe."""
    from prometheus_client import CollectorRegistry

    figures = LedgerFigures(open_ledger(settings))
    registry = CollectorRegistry(auto_describe=False)
    registry.register(figures)

    def ready(accept: str) -> Page:
        return Page.verdict(figures.current() is not None, figures.why or "the ledger answers")

    pages: Pages = {
        "/metrics": partial(endpoint.metrics, registry),
        "/work": partial(work, figures),
        "/livez": lambda accept: Page.verdict(True, "live"),
        "/readyz": ready,
    }
    served = Endpoint(settings.metrics_host, settings.metrics_port or PORT, pages)
    log.info("serves %s of %s: %s", served.port, settings.metrics_host, ", ".join(pages))
    in_background(figures.look, LOOK_EVERY, ended)
    ended.wait()
    served.close()


def work(figures: LedgerFigures, accept: str) -> Page:
    """For KEDA. Where the ledger does not answer it gets an error, on which it keeps what is there, and never a 0."""
    load = figures.current()
    if load is None:
        return Page.json({"error": figures.why or "the ledger did not answer of late"}, 503)
    return Page.json({"unsettled": load.work, "running": load.running, "slots": load.slots, "jobs": len(load.jobs)})


def in_background(look: Callable[[], None], every: float, ended: Event) -> None:
    """Call it again and again in a thread of its own until the end."""

    def go_on() -> None:
        while not ended.is_set():
            try:
                look()
            except Exception as error:
                log.warning("what is served may be old: %s: %s", type(error).__name__, error)
            ended.wait(every)

    Thread(target=go_on, daemon=True).start()


if __name__ == "__main__":
    main()
