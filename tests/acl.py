"""The users of a guarded Redis, as docs/security.md shows them."""

from __future__ import annotations

from pathlib import Path

from processes import REPO

PASSWORD = "canary-of-the-broker"  # a word that no pattern of redact.py knows: it must not come as far as that
ADMIN, ADMIN_PASSWORD = "admin", "looks-at-everything"


def users() -> list[str]:
    """The lines of the documentation's ACL file, with the password changed and PING left for who waits for the server."""
    text = (REPO / "docs" / "security.md").read_text()
    found = [line.strip() for line in text.splitlines() if line.startswith("    user ")]
    assert [line.split()[1] for line in found] == ["default", "hugesync"]
    assert "change-me" in found[1]
    return ["user default on nopass -@all +ping", found[1].replace("change-me", PASSWORD)]


def file(path: Path) -> Path:
    """``path`` with these users and one who may do everything."""
    path.write_text("\n".join([*users(), f"user {ADMIN} on >{ADMIN_PASSWORD} ~* &* +@all"]) + "\n")
    return path
