"""A request's head, parsed by h11 and boiled down to what the protocols above ask for.

A client repeats the same head with every poll, so a `Head` is kept for as long
as its connection: it holds short, shared strings and no header list.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import h11
import msgspec

from node.errors import RemoteProtocolError
from node.http.guard import check_head

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_KEPT: Final = 512  # characters of a head worth remembering
CHUNKED: Final = -1  # the content length of a body that says its length as it goes
_ABSOLUTE: Final = re.compile(r"https?://[^/?#]*(.*)", re.IGNORECASE)
_ORIGIN: Final = re.compile(r"https?://[^/?#@\s]+", re.IGNORECASE)
_PARSER_BUFFER: Final = 16 * 1024  # bytes of an unfinished line, in h11
_KEPT_METHODS: Final = frozenset({"GET", "POST"})
_UNKEPT: Final = frozenset({b"upgrade", b"expect"})


_FOREIGN_SITES: Final = frozenset({"same-site", "cross-site"})

_CODES: Final = {431: "too_large", 501: "not_implemented"}


class Shape(msgspec.Struct, frozen=True, gc=False):
    """What a head says but for its cookies: the same for many clients, and shared by them."""

    method: str
    path: str
    query: str
    content_length: int
    keep_alive: bool
    http_version: str
    content_type: str
    origin: str
    host: str
    authorization: str
    api_key: str
    last_event_id: str
    upgrade: str
    plain: bool
    fetch_site: str = ""
    page: str = ""
    browser: bool = False


class Head(msgspec.Struct, frozen=True, gc=False):
    """What a request's head says. Strings are empty where the header is missing."""

    shape: Shape
    cookie: str  # "name=value; …": only the cookies that the settings name
    digest: bytes = b""  # the head cache's; empty for a head that is never remembered
    raw: bytes = b""  # the whole head, only where it is never remembered
    forwarded: str = ""  # `X-Forwarded-For`, only where the settings want it
    mark: bytes | None = None  # of a remembered head: what the settings keep of its cookie

    @property
    def method(self) -> str:
        return self.shape.method

    @property
    def path(self) -> str:
        """As sent, not percent-decoded, without the query."""
        return self.shape.path

    @property
    def query(self) -> str:
        """As sent, without the "?"."""
        return self.shape.query

    @property
    def content_length(self) -> int:
        """Bytes; CHUNKED for a chunked body."""
        return self.shape.content_length

    @property
    def keep_alive(self) -> bool:
        return self.shape.keep_alive

    @property
    def http_version(self) -> str:
        """Either "1.0" or "1.1"."""
        return self.shape.http_version

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters."""
        return self.shape.content_type

    @property
    def origin(self) -> str:
        return self.shape.origin

    @property
    def host(self) -> str:
        return self.shape.host

    @property
    def authorization(self) -> str:
        """The value of `Authorization`, scheme included."""
        return self.shape.authorization

    @property
    def api_key(self) -> str:
        """The value of `X-API-Key`."""
        return self.shape.api_key

    @property
    def last_event_id(self) -> str:
        return self.shape.last_event_id

    @property
    def upgrade(self) -> str:
        """In lower case: "websocket"."""
        return self.shape.upgrade

    @property
    def page(self) -> str:
        """The origin of the page that asks: `Origin`, or in `Referer`; empty if not told."""
        return self.shape.page

    @property
    def browser(self) -> bool:
        """A browser's mark is on it: `Origin`, `Sec-Fetch-Site`, or an agent named Mozilla."""
        return self.shape.browser

    @property
    def foreign(self) -> bool:
        """A page of another origin asks, so cookies may not come along.

        The browser's own word counts (`Sec-Fetch-Site`, which no page can set);
        without it, the page's host is compared with ours.
        """
        shape = self.shape
        if shape.fetch_site:
            return shape.fetch_site in _FOREIGN_SITES
        return bool(shape.page) and shape.page.partition("://")[2].lower() != shape.host.lower()

    @property
    def private(self) -> bool:
        """It holds a secret, so it is remembered by its own connection alone."""
        return bool(self.shape.authorization or self.shape.api_key)

    @property
    def plain(self) -> bool:
        """Remembered, HTTP/1.1, kept alive, not HEAD: shared prebuilt bytes answer it."""
        return self.shape.plain

    @property
    def expects_continue(self) -> bool:
        """The client waits for "100 Continue" before it sends the body (RFC 9110 10.1.1)."""
        return (
            bool(self.raw)
            and self.http_version == "1.1"
            and (self.header("expect") or "").lower() == "100-continue"
        )

    def cookie_value(self, name: str) -> str | None:
        """The value of one of the kept cookies."""
        if self.cookie.startswith(name) and ";" not in self.cookie:  # it is the only one
            key, _, value = self.cookie.partition("=")
            return value if key == name else None
        for part in self.cookie.split("; "):
            key, _, value = part.partition("=")
            if key == name:
                return value
        return None

    def header(self, name: str) -> str | None:
        """Any header, of a head that is never remembered (upgrade, OPTIONS).

        The first of several; None for a remembered head, which has let go of them.
        """
        wanted = name.lower().encode("latin-1")
        for line in self.raw.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == wanted:
                return value.strip(b" \t").decode("latin-1")
        return None


def parse(
    head: bytes, cookies: frozenset[str], digest: bytes = b"", *, forwarded: bool = False
) -> tuple[Head, h11.Connection]:
    """Parse a whole head (up to and with its empty line).

    `digest` is kept in a head that may be remembered; `forwarded`: so is
    `X-Forwarded-For`. Also returned: the h11
    connection that parsed it, which can read a chunked body.

    Raises RemoteProtocolError with the fitting status.
    """
    check_head(head)
    parser = h11.Connection(h11.SERVER, max_incomplete_event_size=max(len(head), _PARSER_BUFFER))
    try:
        parser.receive_data(head)
        request = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise remote_error(error) from error
    if not isinstance(request, h11.Request):
        raise RemoteProtocolError("no request in a request head")
    return _boil_down(request, head, cookies, digest, forwarded=forwarded), parser


def remote_error(error: h11.RemoteProtocolError) -> RemoteProtocolError:
    """h11's complaint as ours."""
    status = error.error_status_hint
    return RemoteProtocolError(str(error)[:200], status, _CODES.get(status, "bad_request"))


def _boil_down(
    request: h11.Request,
    raw: bytes,
    cookies: frozenset[str],
    digest: bytes,
    *,
    forwarded: bool,
) -> Head:
    fields: dict[bytes, bytes] = {}
    for name, value in request.headers:
        fields[name] = fields[name] + b", " + value if name in fields else value
    if request.http_version not in {b"1.0", b"1.1"}:
        raise RemoteProtocolError("HTTP/1.1 is spoken here", 505, "http_version")
    method = request.method.decode("ascii")
    path, query = _split_target(request.target.decode("ascii"))
    chunked = b"transfer-encoding" in fields
    options = {option.strip().lower() for option in fields.get(b"connection", b"").split(b",")}
    keep_alive = request.http_version == b"1.1" and b"close" not in options

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode("latin-1")

    shape = Shape(
        method=method,
        path=path,
        query=query,
        content_length=CHUNKED if chunked else int(fields.get(b"content-length", b"0")),
        keep_alive=keep_alive,
        http_version="1.1" if request.http_version == b"1.1" else "1.0",
        content_type=text(b"content-type").partition(";")[0].strip().lower(),
        origin=text(b"origin"),
        host=text(b"host"),
        authorization=text(b"authorization"),
        api_key=text(b"x-api-key"),
        last_event_id=text(b"last-event-id"),
        upgrade=text(b"upgrade").lower(),
        fetch_site=text(b"sec-fetch-site").lower(),
        page=text(b"origin") or _origin_of(text(b"referer")),
        browser=(
            b"origin" in fields
            or b"sec-fetch-site" in fields
            or text(b"user-agent").startswith("Mozilla/")
        ),
        plain=keep_alive and method in _KEPT_METHODS,
    )
    headers = [value for name, value in request.headers if name == b"cookie"]
    cookie = _kept_cookies(headers, cookies) if headers else ""
    via = text(b"x-forwarded-for") if forwarded else ""
    texts = (
        path, query, cookie, shape.content_type, shape.page, shape.host, shape.last_event_id,
        shape.authorization, shape.api_key, via,
    )  # fmt: skip
    kept = (
        bool(digest)
        and method in _KEPT_METHODS
        and _UNKEPT.isdisjoint(fields)
        and sum(map(len, texts)) <= MAX_KEPT
    )
    if kept:
        return Head(shape, cookie, digest, forwarded=via)
    return Head(msgspec.structs.replace(shape, plain=False), cookie, raw=raw, forwarded=via)


def _split_target(target: str) -> tuple[str, str]:
    """Path and query of a request target in origin, absolute or asterisk form."""
    if not target.startswith("/") and target != "*":
        absolute = _ABSOLUTE.fullmatch(target)
        if absolute is None:
            raise RemoteProtocolError("the request target is not a path")
        target = absolute[1] if absolute[1].startswith("/") else "/" + absolute[1]
    path, _, query = target.partition("?")
    return path, query


def _origin_of(url: str) -> str:
    """Scheme, host and port of an absolute URL; empty for anything else."""
    found = _ORIGIN.match(url)
    return found[0] if found is not None else ""


def _kept_cookies(headers: Iterable[bytes], names: frozenset[str]) -> str:
    kept = []
    for header in headers:
        for part in header.decode("latin-1").split(";"):
            name, mark, value = part.strip().partition("=")
            if mark and name in names:
                kept.append(f"{name}={value}")
    return "; ".join(kept)
