"""Why a request to the cluster can fail.

Code
├── UNAVAILABLE      retry: no home serves the slot just now
├── UNKNOWN_SESSION  the serving home has no such session
├── MOVED            another edge has the session (a newer generation)
├── OVERLOADED       retry later: a bound on memory or requests was met
└── TOO_MANY         as many patterns as the cluster may have are active
"""

from __future__ import annotations

from typing import Final


class Code:
    """Failure codes that travel in `pubsub.messages.Failed`; clients see them too."""

    UNAVAILABLE: Final = "unavailable"
    UNKNOWN_SESSION: Final = "unknown_session"
    MOVED: Final = "moved"
    OVERLOADED: Final = "overloaded"
    TOO_MANY: Final = "too_many_patterns"


RETRYABLE: Final = frozenset({Code.UNAVAILABLE, Code.OVERLOADED})
