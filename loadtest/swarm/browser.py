"""Request heads as browsers send them: some 700 bytes, a cookie each, long-lived.

What a server keeps of a head it keeps for every session, so a benchmark with
three-line heads would flatter it. Each visitor here has its own cookies, and
the visitors share a few dozen browsers between them, as they do in life.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

CHROME_VERSIONS: Final = (124, 126, 128, 129, 130, 131)
PLATFORMS: Final = (
    ("Windows", "Windows NT 10.0; Win64; x64"),
    ("macOS", "Macintosh; Intel Mac OS X 10_15_7"),
    ("Linux", "X11; Linux x86_64"),
    ("Android", "Linux; Android 10; K"),
)
LANGUAGES: Final = (
    "en-US,en;q=0.9", "de-DE,de;q=0.9,en;q=0.8", "fr-FR,fr;q=0.9,en;q=0.7", "zh-TW,zh;q=0.9",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Head:
    """A request head in two pieces; the decimal Content-Length, if any, goes between."""

    before: bytes
    after: bytes

    def request(self, body: bytes) -> bytes:
        """The whole request with `body`."""
        return b"%b%d%b%b" % (self.before, len(body), self.after, body)

    def bodiless(self, lines: bytes = b"") -> bytes:
        """The whole request, without a body; `lines` are further header lines."""
        return self.before + lines + self.after


class Visitor:
    """One browser with its cookie jar, drawn from `rng`; talks to `host` (HOST:PORT)."""

    __slots__ = ("_cookies", "_host", "_language", "_mobile", "_platform", "_system", "_version")

    def __init__(self, rng: Random, host: str) -> None:
        self._host = host
        self._platform, self._system = rng.choice(PLATFORMS)
        self._mobile = self._platform == "Android"
        self._version = rng.choice(CHROME_VERSIONS)
        self._language = rng.choice(LANGUAGES)
        first_seen = rng.randrange(1_600_000_000, 1_750_000_000)
        self._cookies = {
            "_ga": f"GA1.1.{rng.randrange(10**9)}.{first_seen}",
            "sid": f"{rng.getrandbits(128):032x}",
        }

    def set_cookies(self, pairs: dict[str, str]) -> None:
        """Keep the cookies that a response has set."""
        self._cookies.update(pairs)

    def _agent(self) -> str:
        mobile = " Mobile" if self._mobile else ""
        return (
            f"Mozilla/5.0 ({self._system}) AppleWebKit/537.36 (KHTML, like Gecko) "
            f"Chrome/{self._version}.0.0.0{mobile} Safari/537.36"
        )

    def _cookie_line(self) -> str:
        return "; ".join(f"{name}={value}" for name, value in self._cookies.items())

    def post(self, path: str) -> Head:
        """The head of a same-origin JSON `fetch()` to `path`."""
        before = (
            f"POST {path} HTTP/1.1\r\n"
            f"Host: {self._host}\r\n"
            "Connection: keep-alive\r\n"
            "Content-Length: "
        )
        after = (
            "\r\n"
            f'sec-ch-ua-platform: "{self._platform}"\r\n'
            f"User-Agent: {self._agent()}\r\n"
            f'sec-ch-ua: "Google Chrome";v="{self._version}", '
            f'"Chromium";v="{self._version}", "Not_A Brand";v="24"\r\n'
            "Content-Type: application/json;charset=UTF-8\r\n"
            f"sec-ch-ua-mobile: ?{int(self._mobile)}\r\n"
            "Accept: */*\r\n"
            f"Origin: http://{self._host}\r\n"
            "Sec-Fetch-Site: same-origin\r\n"
            "Sec-Fetch-Mode: cors\r\n"
            "Sec-Fetch-Dest: empty\r\n"
            f"Referer: http://{self._host}/\r\n"
            "Accept-Encoding: gzip, deflate, br, zstd\r\n"
            f"Accept-Language: {self._language}\r\n"
            f"Cookie: {self._cookie_line()}\r\n"
            "\r\n"
        )
        return Head(before.encode("ascii"), after.encode("ascii"))

    def get(self, path: str, accept: str = "*/*") -> Head:
        """The head of a same-origin GET by script; further header lines go between."""
        before = (
            f"GET {path} HTTP/1.1\r\n"
            f"Host: {self._host}\r\n"
            "Connection: keep-alive\r\n"
            f'sec-ch-ua-platform: "{self._platform}"\r\n'
            "Cache-Control: no-cache\r\n"
            f"User-Agent: {self._agent()}\r\n"
            f"Accept: {accept}\r\n"
            f'sec-ch-ua: "Google Chrome";v="{self._version}", '
            f'"Chromium";v="{self._version}", "Not_A Brand";v="24"\r\n'
            f"sec-ch-ua-mobile: ?{int(self._mobile)}\r\n"
            "Sec-Fetch-Site: same-origin\r\n"
            "Sec-Fetch-Mode: cors\r\n"
            "Sec-Fetch-Dest: empty\r\n"
            f"Referer: http://{self._host}/\r\n"
            f"Accept-Language: {self._language}\r\n"
            f"Cookie: {self._cookie_line()}\r\n"
        )
        return Head(before.encode("ascii"), b"\r\n")

    def upgrade(self, path: str, key: str) -> bytes:
        """The opening handshake of a WebSocket to `path` (RFC 6455, 4.1); no extensions."""
        return (
            f"GET {path} HTTP/1.1\r\n"
            f"Host: {self._host}\r\n"
            "Connection: Upgrade\r\n"
            "Pragma: no-cache\r\n"
            "Cache-Control: no-cache\r\n"
            f"User-Agent: {self._agent()}\r\n"
            "Upgrade: websocket\r\n"
            f"Origin: http://{self._host}\r\n"
            "Sec-WebSocket-Version: 13\r\n"
            "Accept-Encoding: gzip, deflate, br, zstd\r\n"
            f"Accept-Language: {self._language}\r\n"
            f"Cookie: {self._cookie_line()}\r\n"
            f"Sec-WebSocket-Key: {key}\r\n"
            "\r\n"
        ).encode("ascii")
