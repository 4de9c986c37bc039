"""HugeSync: moves huge files and huge trees between POSIX filesystems and object stores, and sends only what changed."""

__version__ = "0.1.0"
