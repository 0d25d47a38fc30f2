"""Tests that drive npm packages: each folder has its lock file, installed when first needed."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from programs import require_program

if TYPE_CHECKING:
    from pathlib import Path

INSTALL_LIMIT = 110.0  # seconds


def require_packages(folder: Path) -> str:
    """The path of `node`, with the packages of `folder` in place; skips where npm is missing."""
    node = require_program("node")
    npm = require_program("npm")
    modules = folder / "node_modules"
    stamp = modules / ".package-lock.json"  # npm's own, written when it has finished
    if not stamp.exists() or stamp.stat().st_mtime < (folder / "package-lock.json").stat().st_mtime:
        words = [npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        subprocess.run(words, cwd=folder, check=True, timeout=INSTALL_LIMIT)
    return node
