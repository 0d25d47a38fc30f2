"""Our compose file, as docker compose itself understands it."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FILE = ROOT / "ops" / "docker-compose.yml"
API_KEY = "a-key-for-tests"


@cache
def compose_config() -> dict[str, Any]:
    """``docker compose config``: validated, interpolated, merged. Needs no Docker."""
    program = shutil.which("docker-compose", path=str(Path(sys.executable).parent))
    assert program is not None, "docker-compose is to come with the extra `ops`"
    environ = {k: v for k, v in os.environ.items() if not k.startswith(("COMETRING_", "COMPOSE_"))}
    done = subprocess.run(
        [program, "-f", str(FILE), "config", "--format", "json"],
        env=environ | {"COMETRING_API_KEY": API_KEY},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = json.loads(done.stdout)
    return config


def stop_grace(service: dict[str, Any]) -> float:
    """Seconds between the stop signal and the kill; compose writes ``1m5s``."""
    found = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", str(service.get("stop_grace_period", "10s")))
    assert found is not None
    minutes, seconds = (float(part or 0) for part in found.groups())
    return 60 * minutes + seconds
