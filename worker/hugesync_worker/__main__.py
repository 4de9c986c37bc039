"""``hugesync-worker``: a Celery worker that serves the queues whose roots it has."""

from __future__ import annotations

import atexit
import os
import signal
import sys
from typing import Any

import click

from hugesync_tasks import __version__
from hugesync_tasks.config import environment, load, option_help
from hugesync_tasks.errors import HugeSyncError

SCHEMES = ("file", "s3")

# Registered first, so the last thing that is done: behind it Python gives signals their default back, and the timer that sees to a
# worker's end (hugesync_tasks/leaving.py) would kill one that has ended well and is only slow to put its memory away.
atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--broker", "broker_url", help=option_help("broker_url"))
@click.option("--state", "state_url", help=option_help("state_url"))
@click.option(
    "--root", "worker_roots", multiple=True, metavar="[NAME=]PATH", help="A folder this worker serves; repeatable."
)
@click.option("-c", "--concurrency", "worker_concurrency", type=int, help=option_help("worker_concurrency"))
@click.option("--memory", help=option_help("memory"))
@click.option("--drain-timeout", metavar="TIME", help=option_help("drain_timeout"))
@click.option("--autoscale-min", metavar="N", help=option_help("autoscale_min"))
@click.option("--autoscale-max", metavar="N", help=option_help("autoscale_max"))
@click.option("--buffer-budget", "buffers_budget", metavar="SIZE", help=option_help("buffers_budget"))
@click.option("--metrics-port", type=int, help=option_help("metrics_port"))
@click.option("--metrics-host", help=option_help("metrics_host"))
@click.option("--log-format", type=click.Choice(["text", "json"]), help=option_help("log_format"))
@click.option("--task-events", is_flag=True, help="Send Celery's task events, for Flower.")
@click.option("--max-tasks-per-child", type=click.IntRange(1), help="Replace a child process after so many tasks.")
@click.option("-v", "--verbose", is_flag=True, help="Log each task.")
@click.option("--life-fd", type=int, hidden=True, help="End when this pipe closes: embedded, the producer is gone.")
@click.version_option(__version__, prog_name="hugesync-worker", message="%(prog)s %(version)s")
@click.option(
    "--preload", multiple=True, hidden=True, help="Stores of the one job: what others are made of is left out."
)
def main(
    life_fd: int | None,
    task_events: bool,
    max_tasks_per_child: int | None,
    verbose: bool,
    preload: tuple[str, ...],
    **given: Any,
) -> None:
    """Start a worker that does the hashing and moving for HugeSync jobs.

    It consumes `hs.any` (store to store) and the queue of every root that it is given and in which it finds what the
    producer saw there. It coordinates jobs whose submitter is gone, in processes of their own. Credentials of stores come from
    this machine's own files and environment.
    """
    try:
        given["worker_roots"] = given["worker_roots"] or None
        settings = load(given)
        if not settings.broker_url:
            raise click.UsageError(
                "a worker needs a broker: --broker URL, HUGESYNC_BROKER_URL or the configuration file"
            )
        # children of the pool, and Celery itself, read the same settings from the environment
        os.environ.update(environment(given))
        from hugesync_worker.lifecycle import run

        sys.exit(run(settings, life_fd, task_events, max_tasks_per_child, verbose, preload or SCHEMES))
    except HugeSyncError as error:
        click.echo(f"hugesync-worker: {error}", err=True)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
