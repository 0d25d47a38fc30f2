"""HTTP/1.1 for clients: heads recognised rather than parsed, responses prebuilt."""

from node.http.connection import HttpConnection, HttpHandler
from node.http.events import EventReceiver, EventStream
from node.http.head import Head
from node.http.responses import error_body, json_head, json_response, stream_chunk
from node.http.service import HttpService, HttpSettings

__all__ = [
    "EventReceiver",
    "EventStream",
    "Head",
    "HttpConnection",
    "HttpHandler",
    "HttpService",
    "HttpSettings",
    "error_body",
    "json_head",
    "json_response",
    "stream_chunk",
]
