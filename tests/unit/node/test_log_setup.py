from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import pytest
import structlog

from node.log_setup import configure_logging

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def test_json_lines_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(client="127.0.0.1:8080")
    log = structlog.get_logger()
    log.debug("not said")
    log.info("view", number=3)
    line = json.loads(capsys.readouterr().err)
    assert line["event"] == "view"
    assert line["number"] == 3
    assert line["client"] == "127.0.0.1:8080"
    assert line["timestamp"].endswith("Z")


def test_an_exception_is_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(form="json")
    try:
        raise ValueError("odd")
    except ValueError:
        structlog.get_logger().exception("failed")
    (line,) = capsys.readouterr().err.splitlines()
    (told,) = json.loads(line)["exception"]
    assert told["exc_value"] == "odd"
    assert not any(frame.get("locals") for frame in told["frames"])


def test_pretty_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    configure_logging("debug")
    structlog.get_logger().debug("said")
    err = capsys.readouterr().err
    assert "said" in err
    assert not err.startswith("{")
