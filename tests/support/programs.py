"""Outside programs that some tests drive: skipped with a reason where one is missing."""

from __future__ import annotations

import shutil

import pytest

PACKAGES = {
    "cc": "build-essential",
    "chromium": "chromium",
    "dnsmasq": "dnsmasq-base",
    "haproxy": "haproxy",
    "ip": "iproute2",
    "node": "nodejs",
    "npm": "npm",
    "nsenter": "util-linux",
    "openssl": "openssl",
    "prometheus": "prometheus",
    "promtool": "prometheus",
    "systemd-analyze": "systemd",
    "unshare": "util-linux",
}


def require_program(name: str) -> str:
    """The path of an outside program; skips the test where it is not installed.

    `.ci/run` installs them all, and `tests/conftest.py` turns the skip into a
    failure there.
    """
    path = shutil.which(name)
    if path is None:
        package = PACKAGES.get(name, name)
        pytest.skip(f"needs {name}, which is not installed (Debian: apt install {package})")
    return path
