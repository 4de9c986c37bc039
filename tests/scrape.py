"""Reads what our processes serve over HTTP."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections import defaultdict
from collections.abc import Mapping

from prometheus_client.parser import text_string_to_metric_families


def get(port: int, path: str, timeout: float = 10.0, host: str = "127.0.0.1") -> tuple[int, str]:
    """Status and body; (0, why) where nobody answers."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}{path}", timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except OSError as error:
        return 0, str(error)


def samples(text: str) -> dict[str, dict[str, float]]:
    """Name of each time series -> "label value ..." in the labels' order -> value."""
    found: dict[str, dict[str, float]] = defaultdict(dict)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found[sample.name][" ".join(sample.labels.values())] = sample.value
    return dict(found)


def of(shown: Mapping[str, Mapping[str, float]], name: str, labels: str = "") -> float:
    """0 where there is no such sample."""
    return shown.get(f"hugesync_{name}", {}).get(labels, 0.0)
