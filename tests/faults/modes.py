"""Who may write what a command has made."""

from __future__ import annotations

from pathlib import Path


def writable_by_others(root: Path) -> list[str]:
    """Files and directories below `root` that every user can write to, though not what nobody else can reach."""
    found = []
    for path in sorted(root.iterdir()):
        if path.is_symlink():
            continue
        if path.stat().st_mode & 0o002:
            found.append(f"{path.stat().st_mode & 0o777:o} {path}")
        if path.is_dir() and path.stat().st_mode & 0o077:
            found += writable_by_others(path)
    return found
