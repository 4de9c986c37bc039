"""How a configuration key is called, set and shown: what pages, helps and ``hugesync config`` say of the model."""

from __future__ import annotations

import json
import os
from typing import Any

from pydantic import PlainSerializer

from hugesync_tasks.config_model import Settings

# The option that sets each key; the others have none. Those of hugesync-worker alone say so.
OPTIONS = {
    "broker_url": "--broker",
    "state_url": "--state",
    "jobs": "--jobs",
    "bwlimit": "--bwlimit",
    "tpslimit": "--tpslimit",
    "weight": "--weight",
    "memory": "--memory",
    "retries": "--retries",
    "retry_max_wait": "--retry-max-wait",
    "conflict_retries": "--conflict-retries",
    "stall_timeout": "--stall-timeout",
    "modify_window": "--modify-window",
    "log_format": "--log-format",
    "worker_roots": "hugesync-worker --root",
    "worker_concurrency": "hugesync-worker --concurrency",
    "drain_timeout": "hugesync-worker --drain-timeout",
    "autoscale_min": "hugesync-worker --autoscale-min",
    "autoscale_max": "hugesync-worker --autoscale-max",
    "buffers_budget": "hugesync-worker --buffer-budget",
    "metrics_port": "hugesync-worker --metrics-port",
    "metrics_host": "hugesync-worker --metrics-host",
}


def option_help(key: str) -> str:
    """The help sentence of the option that sets ``key``, default included; so that page, help and model cannot differ."""
    return f"{Settings.model_fields[key].description}  [default: {default_text(key) or 'empty'}]"


def default_text(key: str) -> str:
    """The default of ``key`` as a person would write it; "" = empty. The same on every machine."""
    field = Settings.model_fields[key]
    extra = field.json_schema_extra
    if isinstance(extra, dict):
        return str(extra["default_text"])
    return show(key, field.default)


def show(key: str, value: Any) -> str:
    """A value of ``key`` as it would be written in the environment, secrets replaced."""
    if isinstance(value, tuple):
        plain = not any(os.pathsep in part or part.startswith("[") for part in value)
        return os.pathsep.join(value) if plain else json.dumps(value, ensure_ascii=False)
    for tool in Settings.model_fields[key].metadata:
        if isinstance(tool, PlainSerializer):
            return str(tool.func(value))  # type: ignore[call-arg]
    return "" if value is None else str(value)
