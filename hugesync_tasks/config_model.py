"""Every configuration key: its type, default, bounds and description, once. ``config.load`` makes the values.

Credentials of stores are not here: they stay in the ecosystem's own places (``AWS_PROFILE`` and the like).
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, PlainSerializer, ValidationInfo, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from hugesync_tasks.budget import LEAST
from hugesync_tasks.config_places import config_file, runtime_dir, xdg
from hugesync_tasks.config_units import (
    parse_duration,
    parse_rate,
    parse_requests,
    parse_size,
    show_duration,
    show_rate,
    show_requests,
    show_size,
)
from hugesync_tasks.config_url import check_redis_url
from hugesync_tasks.redact import redact
from hugesync_tasks.spec import Options

ENV_PREFIX = "HUGESYNC_"
TABLES = ("buffers",)  # of the configuration file: ``[buffers] size`` is the key ``buffers_size``
PROFILES = "profiles"  # the table of the configuration file that says how to reach a store
_JOB = Options()  # the defaults of a job are written down once, there

Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(show_size)]
Seconds = Annotated[float, BeforeValidator(parse_duration), PlainSerializer(show_duration)]
Rate = Annotated[int, BeforeValidator(parse_rate), PlainSerializer(show_rate)]
Requests = Annotated[float, BeforeValidator(parse_requests), PlainSerializer(show_requests)]
Switch = Annotated[bool, PlainSerializer(lambda on: "true" if on else "false")]
Url = Annotated[str, BeforeValidator(check_redis_url), PlainSerializer(redact)]


def _split(value: object) -> object:
    """One variable holds several paths the way PATH does, or as a JSON list where a path has a colon in it."""
    if not isinstance(value, str):
        return value  # the file holds a list, the command line repeats the option
    if value.startswith("["):
        try:
            return tuple(json.loads(value))
        except ValueError:
            raise ValueError("begins with [ but is not a JSON list of strings") from None
    return tuple(part for part in value.split(os.pathsep) if part)


class FileSource(TomlConfigSettingsSource):
    """The configuration file without its ``[profiles.NAME]`` tables, which are ``profiles``' to read: they hold secrets. The keys
    of a table of ``TABLES`` get its name before theirs."""

    def __call__(self) -> dict[str, Any]:
        found = {key: value for key, value in super().__call__().items() if key != PROFILES}
        for table in TABLES:
            if isinstance(keys := found.get(table), dict):
                del found[table]
                found |= {f"{table}_{key}": value for key, value in keys.items()}
        return found


class Settings(BaseSettings):
    """Every configuration key, with its effective value. Frozen; made by ``load``."""

    model_config = SettingsConfigDict(env_prefix=ENV_PREFIX, env_ignore_empty=True, extra="forbid", frozen=True)

    broker_url: Url = Field(
        default="",
        repr=False,
        description="Redis of the fleet's queues: redis://, rediss://, or redis+socket:///PATH for a unix socket. "
        "Empty: a private server and worker are started for the one job.",
    )
    state_url: Url = Field(
        default="", repr=False, description="Redis that holds the ledger. Empty: the same server as the broker."
    )
    queue_prefix: str = Field(
        default="hs",
        pattern=r"^[A-Za-z0-9_-]{1,32}$",
        description="First word of every queue's name and ledger key, so that two fleets can share one Redis.",
    )
    jobs: int = Field(
        default=_JOB.jobs,
        ge=0,
        le=10_000,
        description="Parts and batches of one job in flight at once, over all workers; sizes the embedded worker. "
        "0: as many as there are worker slots.",
    )
    memory: Size = Field(
        default=_JOB.memory, ge=128 << 20, description="Most resident memory of each worker process, at least 128MiB."
    )
    bwlimit: Rate = Field(
        default=_JOB.bwlimit,
        description="Most bytes per second of one job, both ways together, over all its workers: 10M, 1.5MiB, 10MB/s; a bare "
        "number is of KiB. off: no limit; the lowest is 64KiB/s.",
    )
    tpslimit: Requests = Field(
        default=_JOB.tpslimit,
        description="Most requests per second of one job, to all its stores together, over all its workers: 10, 0.5. off: no limit; "
        "the lowest is 0.5.",
    )
    weight: int = Field(
        default=_JOB.weight,
        ge=1,
        le=1000,
        description="Share of one job in workers that other jobs use at the same time: of 4 and 1 the first moves four times the bytes.",
    )
    retries: int = Field(
        default=_JOB.retries,
        ge=1,
        le=100,
        description="Attempts at one request or task. With more than one, what failed for a reason that may pass is tried again at the end.",
    )
    retry_max_wait: Seconds = Field(
        default=_JOB.retry_max_wait,
        description="Longest pause between two attempts at one request to a store, even where the store asks for more. "
        "0: 20s, and as long as the store asks.",
    )
    conflict_retries: int = Field(
        default=_JOB.conflict_retries,
        ge=0,
        le=100,
        description="How often a file whose destination changed meanwhile is compared and planned afresh.",
    )
    stall_timeout: Seconds = Field(
        default=_JOB.stall_timeout,
        gt=0,
        description="How long nothing of a job may move, workers that vanished or stand still, before it stops as stalled (resumable).",
    )
    start_timeout: Seconds = Field(
        default=_JOB.start_timeout,
        ge=1,
        description="How long a fleet's job waits for its first worker before it stops as stalled (resumable). Longer where workers "
        "are started on demand.",
    )
    modify_window: Seconds = Field(
        default=0.0, description="Modification times that differ by no more than this count as equal."
    )
    part_size: Size = Field(
        default=_JOB.part_size,
        ge=5 << 20,
        le=5 << 30,
        description="Size of the parts of a large file, 5MiB to 5GiB; larger ones are used where 10,000 would not do.",
    )
    log_format: Literal["text", "json"] = Field(
        default="text",
        description="How stderr is written: text, or json (one object with time, level and event on each line).",
    )
    state_dir: Path = Field(
        default_factory=lambda: xdg("XDG_STATE_HOME", ".local/state") / "hugesync",
        description="Folder of embedded jobs: checkpoints, failures, history.",
        json_schema_extra={"default_text": "$XDG_STATE_HOME/hugesync, else ~/.local/state/hugesync"},
    )
    runtime_dir: Path | None = Field(
        default_factory=runtime_dir,
        description="Folder for the embedded server's socket and the temporary files of its worker.",
        json_schema_extra={"default_text": "$XDG_RUNTIME_DIR, else a private temporary folder"},
    )
    worker_roots: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_split)] = Field(
        default=(),
        description="Folders that a worker serves, each [NAME=]PATH. In the environment separated by ':' "
        "as in PATH, or a JSON list.",
    )
    worker_concurrency: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Child processes of a worker. 0: as many as its CPUs, memory and other limits bear; it says which at its start.",
    )
    drain_timeout: Seconds = Field(
        default=50.0,
        description="How long after SIGTERM what a worker has in hand may finish; then it goes back to the queue. The worker "
        "has ended 8s later at the latest, so a grace period should be 10s longer than this.",
    )
    autoscale_min: int = Field(
        default=1, ge=1, le=1024, description="Fewest child processes that autoscaling leaves a worker."
    )
    autoscale_max: int = Field(
        default=0,
        ge=0,
        le=1024,
        description="Most child processes to which a worker adds while that makes it faster. 0: their number stays.",
    )
    metrics_port: int = Field(
        default=0,
        ge=0,
        le=65535,
        description="Port on which a worker answers /metrics, /livez, /readyz, /consuming and /work. 0: it does not; "
        "hugesync-exporter then takes 9464.",
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address for that port, 0.0.0.0 for every one of this machine's. Whoever reaches it can read it.",
    )

    task_event_names: Literal["shown", "hidden"] = Field(
        default="shown",
        description="Whether the task events that a worker sends (--task-events, for Flower) name files; hidden: only their "
        "parts, numbers and sizes.",
    )

    # The table [buffers] of the file: there they are named without the prefix.
    buffers_enabled: Switch = Field(
        default=True,
        description="Whether a worker's processes share one budget of bytes in hand, and lend large memory again. false: each "
        "keeps to its own part of it, with the same results.",
    )
    buffers_budget: Size = Field(
        default=0,
        description="Most bytes in hand of all child processes of a worker together, at least 32MiB, at most --memory for each of "
        "them. 0: half of the memory that the machine or its cgroup gives to the worker.",
    )
    buffers_size: Size = Field(
        default=1 << 20,
        description="Bytes that are read at once from a local file, and that are lent where nobody says how many.",
    )
    buffers_min: Size = Field(
        default=64 << 10, ge=4 << 10, description="The least size in which memory is lent, at least 4KiB."
    )
    buffers_max: Size = Field(
        default=64 << 20,
        le=1 << 30,
        description="The greatest size in which memory is lent, at most 1GiB; what is larger is counted, and allocated anew each time.",
    )
    buffers_reuse_from: Size = Field(
        default=4 << 20, description="From this size on memory that was returned is kept and lent again."
    )
    buffers_log_interval: Seconds = Field(
        default=0.0, description="How often a worker logs what its buffers did. 0: never."
    )

    @field_validator("buffers_budget")
    @classmethod
    def _one_part_must_fit(cls, value: int) -> int:
        if 0 < value < LEAST:
            raise ValueError(f"must be 0 or at least {show_size(LEAST)}, or no part fits")
        return value

    @model_validator(mode="after")
    def _sizes_are_in_order(self) -> Self:
        if not self.buffers_min <= self.buffers_size <= self.buffers_max:
            least, size, most = map(show_size, (self.buffers_min, self.buffers_size, self.buffers_max))
            raise ValueError(f"buffers_min <= buffers_size <= buffers_max does not hold: {least}, {size}, {most}")
        return self

    @field_validator("*", mode="before")
    @classmethod
    def _no_key_is_a_truth_value(cls, value: object, info: ValidationInfo) -> object:
        if (
            isinstance(value, bool) and info.field_name != "buffers_enabled"
        ):  # else pydantic would read ``jobs = true`` as 1
            raise ValueError("true and false mean nothing here")
        return value

    @field_validator("state_dir", "runtime_dir")
    @classmethod
    def _absolute(cls, value: Path | None) -> Path | None:
        if value is not None and not value.expanduser().is_absolute():
            raise ValueError("must be an absolute path, or processes started elsewhere would use another folder")
        return value.expanduser() if value is not None else None

    @property
    def ledger_url(self) -> str:
        """``state_url``, or where that is empty ``broker_url``; empty = embedded."""
        return self.state_url or self.broker_url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, env_settings, FileSource(settings_cls, toml_file=config_file())
