"""`cometring secret`."""

from __future__ import annotations

import secrets

SECRET_BYTES = 32


def fresh_secret() -> str:
    """A cluster secret: 256 random bits in 43 characters."""
    return secrets.token_urlsafe(SECRET_BYTES)


def secret() -> None:
    """Print a fresh cluster secret; give the same one to every node."""
    print(fresh_secret(), flush=True)
