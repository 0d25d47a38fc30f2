"""Makes the image of a Dockerfile without Docker: in overlays above this machine's file system."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

from dockerfile import Copy, Stage, read_dockerfile

# What of this machine's environment a build may see: where packages are to be had.
BUILD_ENVIRON = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
PYTHON = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
SEARCHED = f"{PYTHON.parent}:/usr/local/bin:/usr/sbin:/usr/bin:/bin"


def run(*words: str) -> None:
    """A command that must work."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{shlex.join(words)}: {done.stderr.strip() or done.returncode}")


def build_image(room: Path, dockerfile: Path, context: Path) -> tuple[Stage, str]:
    """Perform a Dockerfile under `room`; its last stage, and the layers below its containers."""
    layers: dict[str | None, Path] = {}
    root = Path("/")
    stages = read_dockerfile(dockerfile)
    for index, stage in enumerate(stages):
        root = overlay(room / f"stage-{index}", "/")
        _provide_python(root)
        layers[stage.name] = root
        for step in stage.steps:
            if isinstance(step, Copy):
                source = layers[step.stage] if step.stage else context
                _copy(step, source, root)
            else:
                _run_step(root, list(step.words), step.directory, dict(step.environ))
    for target in stages[-1].volumes:
        (root / target.lstrip("/")).mkdir(parents=True, exist_ok=True)
    return stages[-1], f"{room}/stage-{len(stages) - 1}/upper:/"


def overlay(base: Path, lower: str) -> Path:
    """A root above `lower`; what is written to it stays in `base`."""
    for part in ("upper", "work", "root"):
        (base / part).mkdir(parents=True)
    options = f"lowerdir={lower},upperdir={base}/upper,workdir={base}/work"
    run("mount", "-t", "overlay", "overlay", "-o", options, str(base / "root"))
    return base / "root"


def _provide_python(root: Path) -> None:
    """`python`, as the base image has it: the interpreter under the test's own."""
    for name in ("python", "python3"):
        link = root / str(PYTHON.with_name(name)).lstrip("/")
        if not link.exists():
            link.symlink_to(PYTHON.name)
    for folder in PYTHON.parents:  # whatever user the image has must get there
        inside = root / str(folder).lstrip("/")
        inside.chmod(inside.stat().st_mode | 0o055)


def _copy(step: Copy, source: Path, root: Path) -> None:
    target = root / step.target.lstrip("/")
    into = step.target.endswith("/") or len(step.sources) > 1
    for name in step.sources:
        origin = source / name.lstrip("/")
        if origin.is_dir():
            ignore = shutil.ignore_patterns("__pycache__") if not step.stage else None
            shutil.copytree(origin, target, symlinks=True, dirs_exist_ok=True, ignore=ignore)
        else:
            end = target / origin.name if into else target
            end.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(origin, end)


def _run_step(root: Path, words: list[str], directory: str, environ: dict[str, str]) -> None:
    (root / directory.lstrip("/")).mkdir(parents=True, exist_ok=True)
    outside = {k: v for k, v in os.environ.items() if k.upper().startswith(BUILD_ENVIRON)}
    environ = {"PATH": SEARCHED, "HOME": "/"} | outside | environ
    mounts = " && ".join([*devices(root), f"mount --rbind /proc {root}/proc"])
    script = f"{mounts} && cd {root} && exec chroot {root} env -C {directory} {shlex.join(words)}"
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script],
        env=environ,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"RUN {words}: {done.stdout}{done.stderr}")


def devices(root: Path) -> list[str]:
    """Shell lines that give a root the devices that every container has."""
    dev = f"{root}/dev"
    numbers = {"null": 3, "zero": 5, "full": 7, "random": 8, "urandom": 9}
    return [
        f"mount -t tmpfs -o mode=0755 devices {dev}",
        *(f"mknod -m 666 {dev}/{name} c 1 {minor}" for name, minor in numbers.items()),
        f"mkdir -m 1777 {dev}/shm",
        f"ln -s /proc/self/fd {dev}/fd",
        *(
            f"ln -s /proc/self/fd/{i} {dev}/std{name}"
            for i, name in enumerate(("in", "out", "err"))
        ),
    ]
