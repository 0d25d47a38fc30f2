"""Signatures; being filled in."""

from __future__ import annotations


def json_head(length: int) -> bytes:
    """The head of a 200 JSON response with `length` bytes of body (cached)."""
    raise NotImplementedError


def json_response(body: bytes) -> bytes:
    """A whole 200 JSON response, for `HttpConnection.respond_prebuilt`."""
    raise NotImplementedError


def error_body(code: str, message: str, retry: bool = False) -> bytes:
    """`{"error":{"code","message","retry"}}`."""
    raise NotImplementedError


def stream_chunk(data: bytes) -> bytes:
    """`data` (not empty) as one chunk, for `HttpConnection.send_chunk`."""
    raise NotImplementedError
