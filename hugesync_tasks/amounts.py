"""Amounts of bytes as people read them, in whatever process says them: the one place that rounds them and names the unit.

What is to be read back exactly (an option, a setting) is ``config_units``' to show.
"""

from __future__ import annotations


def size(n: float) -> str:
    """Bytes in binary units: ``0 B``, ``1.5 MiB``."""
    import humanize  # only where somebody reads it

    return humanize.naturalsize(n, binary=True).replace(" Bytes", " B").replace(" Byte", " B")


def rate(bytes_per_second: float) -> str:
    """``1.5 MiB/s``."""
    return f"{size(bytes_per_second)}/s"
