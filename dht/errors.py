"""What can go wrong in the ring.

RingError
├── NoMembers            the view has no ACTIVE member: nobody is home to anything
├── LocalProtocolError   the driver or an engine above used the ring wrongly: our bug
└── RemoteProtocolError  a peer broke the ring's rules: end the link with it
"""

from __future__ import annotations


class RingError(Exception):
    """Base of all errors of `dht`."""


class NoMembers(RingError, LookupError):
    """The view has no ACTIVE member."""


class LocalProtocolError(RingError):
    """A call that the caller should have known to be wrong."""


class RemoteProtocolError(RingError):
    """A peer said what no correct peer says."""
