"""The dashboard: a page of plain files, which asks the API that serves it as anybody else would.

There is nothing in these files that is not in every copy of this program: who may see them needs no token.
"""

from __future__ import annotations

from importlib import resources
from pathlib import PurePath

from aiohttp import web

#: The page may fetch from the API, and pictures from the edges: their addresses come from the API, later.
#: It runs no script but its own files, and text never becomes a script or markup.
_POLICY = "; ".join(
    (
        "default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src data:", "media-src blob:",
        "connect-src 'self' http: https:", "base-uri 'none'", "form-action 'none'",
        "frame-ancestors 'none'", "require-trusted-types-for 'script'", "trusted-types 'none'",
    )
)  # fmt: skip
_HEADERS = {
    "Content-Security-Policy": _POLICY, "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}  # fmt: skip
_TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
_PAGE = "dashboard.html"


def is_of_dashboard(path: str) -> bool:
    return path == "/" or path.startswith("/dashboard/")


def add_routes(router: web.UrlDispatcher) -> None:
    """The page at ``/``, and what it is made of beside it. The files are read once."""
    for file in resources.files(__package__).joinpath("web").iterdir():
        kind = _TYPES.get(PurePath(file.name).suffix)
        if kind is not None:
            path = "/" if file.name == _PAGE else f"/dashboard/{file.name}"
            router.add_get(path, _file(file.read_bytes(), kind))


def _file(body: bytes, kind: str) -> web.Handler:  # type: ignore[name-defined]
    async def serve(_: web.Request) -> web.Response:
        return web.Response(body=body, content_type=kind, charset="utf-8", headers=_HEADERS)

    return serve
