"""The machine: descriptors, kernel settings, memory, the clock.

Why each kernel setting matters is in docs/performance.md. Where there is no
`/proc/sys` (a locked-down container), what cannot be read is not judged.
"""

from __future__ import annotations

import ctypes
import os
import resource
from pathlib import Path
from typing import TYPE_CHECKING, Final

from node.doctor.findings import Finding, Level
from node.process_watch import CGROUPS, memory_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from node.config import Config

PROC: Final = Path("/proc")
RESERVED: Final = 256  # descriptors for links, listeners, files
WANTED_DESCRIPTORS: Final = 65_536
SESSION_BYTES: Final = 4_096  # 1 KB was measured, and up to 3 KB of the kernel for its socket
_KERNEL: Final = (
    ("net/core/somaxconn", 4_096, "connections that may wait to be accepted"),
    ("net/ipv4/tcp_max_syn_backlog", 4_096, "handshakes that may be under way"),
)
_TIME_ERROR: Final = 5  # adjtimex(2): the clock is not synchronised
_TIMEX_BYTES: Final = 208  # of struct timex, with room


def check_host(config: Config, proc: Path = PROC, cgroups: Path = CGROUPS) -> Iterator[Finding]:
    """Everything about the machine. `proc`, `cgroups`: where /proc and /sys/fs/cgroup are."""
    yield _descriptors(config)
    yield from _kernel(proc)
    yield from _ports_of_proxies(proc)
    yield from _memory(config, proc)
    yield from _logs(config, memory_limit(proc, cgroups))
    yield _clock()
    yield _cores(config)


def _descriptors(config: Config) -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        return Finding(Level.OK, "descriptors", "no limit")
    found = f"{hard:,}: about {max(0, hard - RESERVED):,} connections"
    if hard < 2 * RESERVED:
        return Finding(Level.FAIL, "descriptors", found, "raise the limit: ulimit -n 65536")
    if hard < WANTED_DESCRIPTORS and config.max_sessions > hard - RESERVED:
        advice = "raise the hard limit (LimitNOFILE=, ulimits:) or set --max-sessions to what fits"
        return Finding(Level.WARN, "descriptors", found, advice)
    return Finding(Level.OK, "descriptors", found)


def _number(proc: Path, name: str) -> int | None:
    try:
        return int((proc / "sys" / name).read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None


def _kernel(proc: Path) -> Iterator[Finding]:
    for name, wanted, what in _KERNEL:
        value = _number(proc, name)
        if value is None:
            continue
        setting = name.replace("/", ".")
        if value < wanted:
            yield Finding(
                Level.WARN, setting, f"{value:,}: {what}", f"sysctl -w {setting}={wanted}"
            )
        else:
            yield Finding(Level.OK, setting, f"{value:,}")
    table, tracked = (
        _number(proc, f"net/netfilter/nf_conntrack_{part}") for part in ("max", "count")
    )
    if table is not None and tracked is not None:
        found = f"{tracked:,} of {table:,} connections tracked"
        crowded = tracked > table * 0.8
        advice = "sysctl -w net.netfilter.nf_conntrack_max=262144" if crowded else ""
        yield Finding(Level.WARN if crowded else Level.OK, "connection tracking", found, advice)


def _ports_of_proxies(proc: Path) -> Iterator[Finding]:
    try:
        low, high = map(int, (proc / "sys/net/ipv4/ip_local_port_range").read_text().split())
    except (OSError, ValueError):
        return
    ports = high - low + 1
    found = f"{ports:,}: connections that a proxy on this machine can open to one node"
    if ports < 20_000:
        advice = 'sysctl -w net.ipv4.ip_local_port_range="15000 64999"'
        yield Finding(Level.WARN, "local ports", found, advice)
    else:
        yield Finding(Level.OK, "local ports", found)


def _memory(config: Config, proc: Path) -> Iterator[Finding]:
    try:
        lines = (proc / "meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        available = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return
    room = available // SESSION_BYTES
    found = f"{available / 2**30:.1f} GiB available: about {room:,} idle sessions"
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = min(config.max_sessions, hard) * config.workers
    if room < most:
        advice = f"set --max-sessions to {room:,} or fewer, or add memory"
        yield Finding(Level.WARN, "memory", found, advice)
    else:
        yield Finding(Level.OK, "memory", found)


def _logs(config: Config, limit: int | None) -> Iterator[Finding]:
    if limit is None:
        return
    most = config.max_log_bytes * config.workers
    found = f"up to {most >> 20:,} MiB of the {limit >> 20:,} MiB that the machine or group allows"
    if most > limit // 2:
        room = (limit // 3 // config.workers) >> 20
        advice = f"set --max-log-bytes to {max(room, 1)}MiB or less, or allow more memory"
        yield Finding(Level.WARN, "logs", found, advice)
    else:
        yield Finding(Level.OK, "logs", found)


def _clock() -> Finding:
    """Timestamps of messages and tokens are wall-clock time; the ring itself needs none."""
    try:
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)  # modes = 0: only read
        state = ctypes.CDLL(None, use_errno=True).adjtimex(buffer)
    except (OSError, AttributeError):
        state = -1
    if state < 0:
        return Finding(Level.OK, "clock", "cannot be asked whether it is synchronised")
    if state == _TIME_ERROR:
        advice = "run chrony or systemd-timesyncd: latency figures and tokens depend on it"
        return Finding(Level.WARN, "clock", "is not synchronised", advice)
    return Finding(Level.OK, "clock", "synchronised")


def _cores(config: Config) -> Finding:
    cores = len(os.sched_getaffinity(0))
    found = f"{cores} cores, {config.workers} node{'s' if config.workers > 1 else ''} here"
    if config.workers > cores:
        return Finding(Level.WARN, "cores", found, "one node uses one core: --workers auto")
    return Finding(Level.OK, "cores", found)
