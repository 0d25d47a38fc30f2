from __future__ import annotations

import subprocess
import sys

import pytest

from node.cli.main import main


def one_line(text: str) -> str:
    assert text.startswith("cometring: ")
    assert text.count("\n") == 1
    return text


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "--help"),
        (["bogus"], "No such command 'bogus'"),
        (["serve", "--bogus"], "cometring serve --help"),
        (["serve", "--client", "x:y"], "--client: 'x:y' is not HOST:PORT"),
        (["serve", "--config", "/nonexistent.toml"], "cannot read /nonexistent.toml"),
        (["cluster", "--nodes", "0"], "--nodes"),
        (["cluster", "--client-port", "9100"], "overlap"),
        (["cluster", "--ops-port", "65534"], "at most 65535"),
        (["publish", "/a"], "'JSON'"),
        (["publish", "/a", "hello"], "not JSON"),
        (["publish", "/a", "1", "--url", "ftp://x"], "not a URL"),
        (["publish", "/a", "1", "--url", "http://x:y"], "not a URL"),
        (["listen"], "CHANNEL"),
        (["ring"], "cometring ring --help"),
        (["ring", "locate"], "KEY"),
    ],
)
def test_wrong_usage_is_status_2_and_one_line(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert says in one_line(err)


def test_a_failed_operation_is_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["publish", "/a", "1", "--url", "http://127.0.0.1:1"]) == 1
    assert "nothing answers at http://127.0.0.1:1" in one_line(capsys.readouterr().err)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.startswith("cometring ")


@pytest.mark.parametrize(
    "command", [[], ["serve"], ["cluster"], ["publish"], ["listen"], ["ring"], ["ring", "locate"]]
)
def test_help(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    assert "Usage: cometring" in capsys.readouterr().out


def test_secrets_are_fresh_and_long_enough(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["secret"]) == 0
    assert main(["secret"]) == 0
    first, second = capsys.readouterr().out.split()
    assert first != second
    assert len(first) == 43


def test_a_reader_that_leaves_is_no_traceback() -> None:
    reader = subprocess.run(
        ["sh", "-c", f"{sys.executable} -m node.cli secret | true"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert "Traceback" not in reader.stderr


def test_bench_hands_over_to_the_load_tests(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--help"]) == 0
    assert "broadcast" in capsys.readouterr().out
    assert main(["bench", "nonsense"]) == 2
    assert "cometring bench --help" in capsys.readouterr().err
