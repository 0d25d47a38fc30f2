"""Small blocking HTTP requests, for commands: one connection, one answer."""

from __future__ import annotations

import http.client
import os
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, urlsplit

import msgspec

from node.cli.errors import OperationFailed, UsageFailed

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_URL = "http://127.0.0.1:8080"
JSON = "application/json;charset=UTF-8"


class Reply(NamedTuple):
    """An answer, read whole."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    def json(self) -> object:
        """The body as JSON; raises OperationFailed if it is not."""
        try:
            answer: object = msgspec.json.decode(self.body)
        except msgspec.DecodeError as error:
            msg = f"the answer (status {self.status}) is not JSON: is that a cometring node?"
            raise OperationFailed(msg) from error
        return answer


def parse_url(text: str) -> SplitResult:
    """An http(s) URL with a host; raises UsageFailed."""
    url = urlsplit(text if "://" in text else f"http://{text}")
    try:
        valid = url.scheme in {"http", "https"} and bool(url.hostname) and url.port != 0
    except ValueError:  # a port that is not a number
        valid = False
    if not valid:
        msg = f"{text!r} is not a URL such as {DEFAULT_URL}"
        raise UsageFailed(msg)
    return url


def open_connection(url: SplitResult, timeout: float) -> http.client.HTTPConnection:
    """A connection to `url`'s host, not dialled yet. `timeout`: seconds for any one wait."""
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    return kind(url.hostname or "", url.port, timeout=timeout)


def exchange(
    connection: http.client.HTTPConnection,
    method: str,
    target: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Reply:
    """One request on `connection`. Raises OSError or http.client.HTTPException."""
    connection.request(method, target, body, dict(headers or {}))
    response = connection.getresponse()
    return Reply(response.status, response.headers, response.read())


def fetch(
    text: str,
    target: str,
    method: str = "GET",
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    timeout: float = 15.0,
) -> Reply:
    """One request of its own. Raises OperationFailed where nobody answers."""
    url = parse_url(text)
    connection = open_connection(url, timeout)
    try:
        return exchange(connection, method, url.path.rstrip("/") + target, body, headers)
    except TimeoutError:
        msg = f"{url.geturl()} did not answer within {timeout:g} s"
        raise OperationFailed(msg) from None
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        msg = f"nothing answers at {url.geturl()} ({reason}): is the node running there?"
        raise OperationFailed(msg) from None
    except http.client.HTTPException as error:
        msg = f"{url.geturl()} does not speak HTTP ({type(error).__name__}): is the port right?"
        raise OperationFailed(msg) from None
    finally:
        connection.close()
