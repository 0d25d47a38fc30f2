"""The reactor: every client socket in one private epoll set, watched by one trio task.

A task for each waiting client would cost kilobytes; here it costs a list
slot. An epoll descriptor is itself pollable, so trio's own loop wakes us when
any client has something to say. Work is done in slices of a few milliseconds
with a checkpoint between, so that links, heartbeats and timers are never
starved by clients.

A turn is: the events that epoll has, the connections that asked to be seen
`again`, then `end_of_turn` (the hub's flush).
"""

from __future__ import annotations

import os
import select
from time import perf_counter
from typing import TYPE_CHECKING, Final, Protocol

import structlog
import trio

from node.connection import READ, WRITE
from node.errors import ProtocolError, SlowConsumerError

if TYPE_CHECKING:
    from collections.abc import Callable

    from node.connection import Connection
    from node.stats import Stats

log = structlog.get_logger()

SLICE: Final = 0.005  # seconds of client work before others get a turn
BATCH: Final = 512  # events taken from epoll at once
TICK: Final = 0.25  # seconds between looks at deadlines, and the loop's lag
MAX_PARTIAL: Final = 256 * 1024 * 1024  # bytes of unfinished requests and messages
ROUND: Final = 5.0  # seconds in which the sweep comes past every connection


class BufferingSocket(Protocol):
    """A client's socket that may have read more from the kernel than it was asked for."""

    def fileno(self) -> int: ...
    def pending(self) -> int: ...


class Reactor:
    """Owns the epoll set, the table of connections, and the one task that serves them."""

    def __init__(
        self, stats: Stats, end_of_turn: Callable[[], bool], max_partial: int = MAX_PARTIAL
    ) -> None:
        """`end_of_turn()` runs once a turn; True says that it has more to do.

        What it raises is a bug of this program, and ends `run`. `max_partial`: bytes
        that all connections together keep of what is not complete (`Connection.hold`).
        """
        self.stats = stats
        self.max_partial = max_partial
        self.clock = 0  # whole seconds of the trio clock, for stamps that cost nothing
        self.connections = 0  # registered now
        self._end_of_turn = end_of_turn
        self._epoll = select.epoll()
        self._bell = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._epoll.register(self._bell, READ)
        self._table: list[Connection | None] = []  # by file descriptor
        self._again: dict[Connection, None] = {}
        self._unread: dict[int, BufferingSocket] = {}  # by file descriptor
        self._parked: dict[int, BufferingSocket] = {}  # the same, of who wants no input now
        self._deadlines: dict[Connection, float] = {}  # seconds on the trio clock
        self._hand = 0  # where in the table the sweep goes on
        self._woken = False
        self._asleep = False
        self._sounded = 0.0  # when the bell was rung behind what is ready; 0.0: it was not

    # -- from anywhere in the trio thread -------------------------------------------

    def wake(self) -> None:
        """Have `end_of_turn` run soon: a link, not a client, made work for it."""
        if not self._woken:
            self._woken = True
            if self._asleep:
                os.eventfd_write(self._bell, 1)

    def again(self, conn: Connection) -> None:
        """Call `conn.on_again()` soon, but not from within whatever runs now."""
        self._again[conn] = None
        self.wake()

    def unread(self, sock: BufferingSocket) -> None:
        """`sock` has input that epoll does not see: have its connection read on."""
        self._unread[sock.fileno()] = sock
        self.wake()

    def register(self, conn: Connection) -> None:
        """Watch `conn` for input."""
        fd = conn.sock.fileno()
        self._epoll.register(fd, conn.interest)
        table = self._table
        if fd >= len(table):
            table.extend([None] * (fd + 1 - len(table)))
        table[fd] = conn
        self.connections += 1

    def unregister(self, conn: Connection) -> None:
        """Forget `conn`; its socket is about to be closed."""
        fd = conn.sock.fileno()
        self._epoll.unregister(fd)
        self._table[fd] = None
        self._deadlines.pop(conn, None)
        self._unread.pop(fd, None)
        self._parked.pop(fd, None)
        self.connections -= 1

    def all(self) -> list[Connection]:
        """Every registered connection."""
        return [conn for conn in self._table if conn is not None]

    def replace(self, old: Connection, new: Connection) -> None:
        """`new` serves the socket from now on."""
        self._table[new.sock.fileno()] = new
        self._deadlines.pop(old, None)

    def read_now(self, conn: Connection) -> None:
        """Let `conn` take what its client has sent, before a turn of its own comes."""
        self._guard(conn, conn.on_readable)

    def set_interest(self, conn: Connection, interest: int) -> None:
        """Watch `conn` for `interest` (READ and WRITE bits)."""
        if conn.interest != interest:
            conn.interest = interest
            fd = conn.sock.fileno()
            self._epoll.modify(fd, interest)
            if self._parked and interest & READ and fd in self._parked:
                self.unread(self._parked.pop(fd))

    def set_writable_interest(self, conn: Connection, on: bool) -> None:
        """Watch `conn` for room in its socket, or no more."""
        self.set_interest(conn, conn.interest | WRITE if on else conn.interest & ~WRITE)

    def set_deadline(self, conn: Connection, seconds: float) -> None:
        """Call `conn.on_deadline()` `seconds` from now, give or take a tick.

        For the few connections that are in the middle of something: each costs a
        dict entry until then.
        """
        self._deadlines[conn] = trio.current_time() + seconds

    def deadline(self, conn: Connection) -> float:
        """Seconds that are left of the deadline of `conn`; 0 if it has none."""
        return max(0.0, self._deadlines.get(conn, 0.0) - trio.current_time())

    def clear_deadline(self, conn: Connection) -> None:
        self._deadlines.pop(conn, None)

    # -- the task ---------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until cancelled; then every connection is closed. Runs once."""
        self.clock = int(trio.current_time())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._keep_time)
                task_status.started()
                await self._serve()
        finally:
            self._dispose()

    async def _serve(self) -> None:
        epoll_fd = self._epoll.fileno()
        while True:
            if self._turn() or self._woken:
                await trio.lowlevel.checkpoint()
                continue
            self._asleep = True
            try:
                await trio.lowlevel.wait_readable(epoll_fd)
            finally:
                self._asleep = False

    def _turn(self) -> bool:
        """One slice. True: there is more to do at once."""
        stop = perf_counter() + SLICE
        cut_short = self._serve_events(stop)
        # Cleared here, so that what is woken from now on gets another turn.
        self._woken = False
        if self._unread:
            self._serve_unread(stop)
        if self._again:
            self._serve_again(stop)
        return self._end_of_turn() or cut_short

    def _serve_events(self, stop: float) -> bool:
        table = self._table
        events = self._epoll.poll(0, BATCH)
        for fd, mask in events:
            if fd == self._bell:
                os.eventfd_read(fd)
                if self._sounded:
                    self.stats.note_wait(perf_counter() - self._sounded)
                    self._sounded = 0.0
                continue
            conn = table[fd]
            if conn is None:
                continue  # closed earlier in this batch
            try:
                if mask == READ:
                    conn.on_readable()
                else:
                    conn.on_event(mask)
            except Exception as error:  # noqa: BLE001 - the connection boundary
                self._fail(conn, error)
            if perf_counter() > stop:
                return True  # epoll is level-triggered: what is left comes up again
        return len(events) == BATCH

    def _serve_unread(self, stop: float) -> None:
        waiting, self._unread = self._unread, {}
        while waiting:
            fd, sock = waiting.popitem()
            conn = self._table[fd]
            if conn is None:
                continue
            if not conn.interest & READ:
                self._parked[fd] = sock
                continue
            self._guard(conn, conn.on_readable)
            if self._table[fd] is not None and sock.pending():
                self._unread[fd] = sock  # it leaves that for a later turn
            if perf_counter() > stop:
                break
        self._unread |= waiting
        if self._unread:
            self._woken = True

    def _serve_again(self, stop: float) -> None:
        waiting = list(self._again)
        self._again.clear()
        for index, conn in enumerate(waiting, 1):
            self._guard(conn, conn.on_again)
            if perf_counter() > stop:
                self._again = dict.fromkeys(waiting[index:]) | self._again
                break
        if self._again:
            self._woken = True

    def _guard(self, conn: Connection, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001 - the connection boundary
            self._fail(conn, error)

    def _fail(self, conn: Connection, error: Exception) -> None:
        """The one catch-all: whatever serving a client raised ends that client only."""
        if isinstance(error, SlowConsumerError):
            self.stats.slow_consumers["close"] += 1
        elif isinstance(error, ProtocolError):
            log.info("connection_failed", error=str(error), kind=type(error).__name__)
        else:
            log.error("connection_crashed", exc_info=error)
        try:
            conn.on_failure(error)
        except Exception:
            log.exception("connection_crashed")
            conn.close()

    # -- time ---------------------------------------------------------------------------

    async def _keep_time(self) -> None:
        due = trio.current_time() + TICK
        while True:
            await trio.sleep_until(due)
            now = trio.current_time()
            self.stats.note_lag(now - due)
            self._sound()
            self.clock = int(now)
            self._pass_deadlines(now)
            self._sweep()
            due = now + TICK

    def _sound(self) -> None:
        """Find out how long what is ready waits for its turn.

        Timers do not tell: they run between slices, however much is ready. The
        bell does: the kernel lists it behind the sockets that were ready before.
        """
        if self._sounded:
            self.stats.note_wait(perf_counter() - self._sounded)
        elif not self._asleep:
            self._sounded = perf_counter()
            os.eventfd_write(self._bell, 1)

    def _pass_deadlines(self, now: float) -> None:
        late = [conn for conn, deadline in self._deadlines.items() if deadline <= now]
        for conn in late:
            if self._deadlines.pop(conn, None) is not None:
                self._guard(conn, conn.on_deadline)

    def _sweep(self) -> None:
        """Look at the next few connections, so that in ROUND seconds each is looked at once."""
        table = self._table
        end = min(len(table), self._hand + int(len(table) * TICK / ROUND) + 1)
        clock = self.clock
        for index in range(self._hand, end):
            conn = table[index]
            if conn is not None:
                try:
                    conn.on_sweep(clock)
                except Exception as error:  # noqa: BLE001 - the connection boundary
                    self._fail(conn, error)
        self._hand = end if end < len(table) else 0

    def _dispose(self) -> None:
        for conn in self.all():
            conn.close()
        self._again.clear()
        self._epoll.close()
        os.close(self._bell)
