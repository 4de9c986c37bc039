"""What a path lies on, and what is left there."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from hugesync_producer.preflight.values import Disk, Space

_MEMORY = {"tmpfs", "ramfs", "devtmpfs"}
_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb3",
    "smbfs",
    "9p",
    "ceph",
    "glusterfs",
    "lustre",
    "afs",
    "beegfs",
    "fuse.sshfs",
    "fuse.s3fs",
}
_CHAIN = 8  # device mapper over RAID over disks; never more in practice


def nearest_folder(path: str) -> str:
    """``path``, or the folder nearest above it that is there."""
    while path and path != "/" and not os.path.isdir(path):
        path = os.path.dirname(path)
    return path or "/"


def disk_of(path: str, sysfs: Path = Path("/sys")) -> Disk:
    """Never raises: what nobody tells is "unknown"."""
    path = os.path.realpath(path)
    mounts = [p for p in psutil.disk_partitions(all=True) if _holds(p.mountpoint, path)]
    if not mounts:
        return Disk("", "unknown", "", "unknown")
    it = max(mounts, key=lambda p: len(p.mountpoint))  # of two on one place the later one is seen; max keeps the first
    it = [p for p in mounts if p.mountpoint == it.mountpoint][-1]
    return Disk(it.mountpoint, it.fstype, it.device, _kind(it.fstype, path, sysfs))


def space_of(path: str) -> Space:
    """For this user, of the filesystem below ``path``. Raises OSError."""
    st = os.statvfs(path)
    inodes = st.f_favail if st.f_files else None  # btrfs and others make them as they are needed
    return Space(st.f_bavail * st.f_frsize, st.f_blocks * st.f_frsize, inodes)


def _holds(mount: str, path: str) -> bool:
    return path == mount or path.startswith(mount.rstrip("/") + "/")


def _kind(filesystem: str, path: str, sysfs: Path) -> str:
    if filesystem in _MEMORY:
        return "memory"
    if filesystem in _NETWORK:
        return "network"
    try:
        device = os.stat(path).st_dev
    except OSError:
        return "unknown"
    turning = _rotational(sysfs / "dev/block" / f"{os.major(device)}:{os.minor(device)}", _CHAIN)
    return "unknown" if turning is None else "rotational" if turning else "ssd"


def _rotational(device: Path, depth: int) -> bool | None:
    """Of a partition its disk says it; of a mapped device the disks below it: one that turns slows the whole."""
    if depth == 0 or not device.exists():
        return None
    device = device.resolve()
    below = device / "slaves"
    found = [_rotational(one, depth - 1) for one in below.iterdir()] if below.is_dir() else []
    if any(f is not None for f in found):
        return any(found)
    for queue in (device / "queue", device.parent / "queue"):
        try:
            return (queue / "rotational").read_text().strip() == "1"
        except OSError:
            continue
    return None
