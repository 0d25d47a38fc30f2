"""`cometring publish` and `cometring send`: one call of the application interface each."""

from __future__ import annotations

import sys
from typing import Annotated

import msgspec
import typer

from node.cli.errors import OperationFailed, UsageFailed
from node.cli.web import DEFAULT_URL, JSON, fetch

Url = Annotated[
    str, typer.Option("--url", envvar="COMETRING_URL", help="Any node's client listener.")
]
ApiKey = Annotated[
    str | None, typer.Option("--api-key", envvar="COMETRING_API_KEY", help="The cluster's API key.")
]
Data = Annotated[
    str, typer.Argument(metavar="JSON", help="The data, as JSON; - reads standard input.")
]
MessageId = Annotated[
    str | None, typer.Option("--id", help="A message id; it makes a retry harmless.")
]


def publish(
    channel: Annotated[str, typer.Argument(metavar="CHANNEL", help="Such as /chat/room.")],
    data: Data,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    message_id: MessageId = None,
) -> None:
    """Publish to everybody on a channel; prints where the message stands in its log."""
    call_api(url, "/api/publish", api_key, channel=channel, data=_raw(data), id=message_id)


def send(
    session: Annotated[str, typer.Argument(metavar="SESSION", help="A session's address, or id.")],
    data: Data,
    url: Url = DEFAULT_URL,
    api_key: ApiKey = None,
    channel: Annotated[
        str | None, typer.Option("--channel", help="Under /service/; /service/inbox if not said.")
    ] = None,
    message_id: MessageId = None,
) -> None:
    """Send to one session, wherever it is connected."""
    call_api(
        url, "/api/send", api_key, session=session, data=_raw(data), channel=channel, id=message_id
    )


def _raw(text: str) -> msgspec.Raw:
    body = sys.stdin.buffer.read() if text == "-" else text.encode()
    try:
        msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        msg = f"the data is not JSON ({error}): quote a string twice, as in '\"hello\"'"
        raise UsageFailed(msg) from None
    return msgspec.Raw(body.strip())


def call_api(url: str, target: str, api_key: str | None, **fields: object) -> None:
    """POST `fields` that are not None and print the answer; raises OperationFailed."""
    headers = {"Content-Type": JSON}
    if api_key is not None:
        headers["Authorization"] = f"Bearer {api_key}"
    given = {name: value for name, value in fields.items() if value is not None}
    reply = fetch(url, target, "POST", msgspec.json.encode(given), headers)
    if reply.status != 200:
        raise OperationFailed(_complaint(reply.status, reply.body, api_key))
    print(reply.body.decode(), flush=True)


def _complaint(status: int, body: bytes, api_key: str | None) -> str:
    if status in {401, 403} and api_key is None:
        return "the node wants an API key: pass --api-key, or set COMETRING_API_KEY"
    try:
        error = msgspec.json.decode(body)["error"]
        retry = "; try again" if error.get("retry") else ""
        return f"refused with {error['code']}: {error['message']}{retry}"
    except (msgspec.DecodeError, LookupError, TypeError, AttributeError):
        return f"refused with status {status}"
