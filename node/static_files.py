"""Files of our own pages, read once and served from memory.

Only the paths named in a page's table exist; a request path is looked up in it,
never joined to a directory.
"""

from __future__ import annotations

from importlib.resources import files
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

_TYPES: Final = {
    "css": "text/css;charset=UTF-8",
    "html": "text/html;charset=UTF-8",
    "js": "text/javascript;charset=UTF-8",
    "svg": "image/svg+xml",
}


def load(table: Mapping[str, tuple[str, str]]) -> dict[str, tuple[str, bytes]]:
    """Content type and bytes by path. `table`: package and name in its `static` folder by path."""
    return {
        path: (_TYPES[name.rpartition(".")[2]], (files(package) / "static" / name).read_bytes())
        for path, (package, name) in table.items()
    }
