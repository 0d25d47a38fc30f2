"""Peers by package name, into a cache folder: npm, pip, Maven, Go, Debian.

The folder is `COMETRING_BENCH_CACHE`, or `cometring-bench` in the user's
cache folder; what it holds is thrown away at will.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

SOURCES: Final = Path(__file__).with_name("sources")
_SECONDS: Final = 600.0  # for one installation
_TOLD: Final = 300  # characters of an installer's last words
NCHAN_MODULES: Final = (
    Path("/usr/lib/nginx/modules/ngx_nchan_module.so"),
    Path("/usr/share/nginx/modules/ngx_nchan_module.so"),
)
CENTRIFUGO: Final = "github.com/centrifugal/centrifugo/v6@v6.9.1"


class NotInstalled(Exception):
    """A peer cannot be had on this machine; the text says why."""


def cache_folder() -> Path:
    """Where installations are kept. It is made if need be."""
    given = os.environ.get("COMETRING_BENCH_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(given) if given else Path(base) / "cometring-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def program(name: str, package: str) -> str:
    """The path of a program. Raises `NotInstalled`, naming its Debian package."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/go/bin")
    if found is None:
        raise NotInstalled(f"no {name} here (Debian: apt install {package})")
    return found


def _carry_out(folder: Path, *command: str, **environ: str) -> None:
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=os.environ | environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise NotInstalled(f"{command[0]} took over {_SECONDS:.0f} s") from error
    if done.returncode:
        words = " ".join((done.stderr or done.stdout).split())
        raise NotInstalled(f"{Path(command[0]).name} failed: {words[-_TOLD:]}")


def _fresh(name: str, *sources: Path) -> tuple[Path, bool]:
    """A folder named after its sources' content, and whether it is still to be filled."""
    digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
    folder = cache_folder() / f"{name}-{digest[:12]}"
    if (folder / ".installed").exists():
        return folder, False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for source in sources:
        shutil.copy(source, folder)
    return folder, True


def npm() -> Path:
    """A folder with Faye, Socket.IO and ws, and our servers on them."""
    scripts = sorted(SOURCES.glob("*.js"))
    folder, empty = _fresh("npm", SOURCES / "package.json", *scripts)
    if empty:
        _carry_out(folder, program("npm", "npm"), "install", "--no-audit", "--no-fund")
        (folder / ".installed").touch()
    return folder


def python() -> Path:
    """A virtual environment with python-socketio, uvicorn and Twisted, and our servers on them."""
    scripts = sorted(SOURCES.glob("*.py"))
    folder, empty = _fresh("python", SOURCES / "requirements.txt", *scripts)
    if empty:
        _carry_out(folder, sys.executable, "-m", "venv", "venv")
        pip = str(folder / "venv/bin/pip")
        _carry_out(folder, pip, "install", "-q", "-r", "requirements.txt")
        (folder / ".installed").touch()
    return folder


def java() -> Path:
    """A folder with jars from Maven Central, and our servers on them, compiled."""
    classes = sorted((SOURCES / "java").glob("*.java"))
    folder, empty = _fresh("java", SOURCES / "java/pom.xml", *classes)
    if empty:
        maven = program("mvn", "maven")
        wanted = ("-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=jars")
        _carry_out(folder, maven, *wanted)
        compiler = program("javac", "default-jdk-headless")
        _carry_out(folder, compiler, "-cp", "jars/*", "-d", "classes", *(c.name for c in classes))
        (folder / ".installed").touch()
    return folder


def nchan() -> Path:
    """The nchan module for nginx. Raises `NotInstalled`."""
    program("nginx", "nginx libnginx-mod-nchan")
    for module in NCHAN_MODULES:
        if module.exists():
            return module
    raise NotInstalled("no nchan here (Debian: apt install nginx libnginx-mod-nchan)")


def centrifugo() -> Path:
    """The program, built by `go install`."""
    folder = cache_folder() / f"go-{CENTRIFUGO.partition('@')[2]}"
    built = folder / "centrifugo"
    if not built.exists():
        folder.mkdir(exist_ok=True)
        go = program("go", "golang-go")
        _carry_out(folder, go, "install", CENTRIFUGO, GOBIN=str(folder))
    return built
