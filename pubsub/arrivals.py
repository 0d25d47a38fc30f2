"""Sessions on their way to this node: their open or attach is not answered yet."""

from __future__ import annotations


class Arrivals:
    """Addresses by request; the same address may be asked for more than once."""

    def __init__(self) -> None:
        self._by_request: dict[int, str] = {}
        self._count: dict[str, int] = {}

    def __contains__(self, address: str) -> bool:
        return address in self._count

    def begin(self, request: int, address: str) -> None:
        """A home is asked for this session."""
        self._by_request[request] = address
        self._count[address] = self._count.get(address, 0) + 1

    def end(self, request: int) -> bool:
        """The request is over; False if it was not for a session."""
        address = self._by_request.pop(request, None)
        if address is None:
            return False
        self._count[address] -= 1
        if not self._count[address]:
            del self._count[address]
        return True
