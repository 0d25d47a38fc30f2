from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from loadtest import tls_memory
from programs import require_program

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_round(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    require_program("openssl")
    monkeypatch.setattr(tls_memory, "WARM_UP", 5)
    monkeypatch.setattr(tls_memory, "QUIET", 0.1)
    cert, key = tls_memory.make_pair(tmp_path)
    context = tls_memory.client_context(cert, ssl.TLSVersion.TLSv1_3)
    options = ("--tls-cert", str(cert), "--tls-key", str(key))
    memory, cpu = tls_memory.measure(
        options, context, 300
    )  # (few would fit into what start-up has freed)
    assert 1_000 < memory < 200_000
    assert cpu > 0
