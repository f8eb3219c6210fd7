"""The pages for people: `/`, `/docs` and their files. No page refers to another host."""

from importlib.resources import files
from typing import Final

from penstock.core.description import Described
from penstock.core.errors import UnknownRouteError
from penstock.core.ports import Answer
from penstock.transports.http.routing import OURS, OwnedRoute
from penstock.transports.http.visits import Visit

_TYPES: Final = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY: Final = "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
# Swagger UI sets styles on elements and draws its icons from `data:` addresses.
_DOCS_POLICY: Final = f"{_POLICY}; style-src 'self' 'unsafe-inline'; img-src 'self' data:"
_HEADERS: Final = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}
_APP_FILES: Final = ("app.css", "app.js", "icon.svg")
_DOCS_FILES: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "docs.js", "docs.css")


class Pages:
    """Reads its files once, when it is made."""

    def __init__(self) -> None:
        self._app = _load("app.html", _POLICY)
        self._docs = _load("docs.html", _DOCS_POLICY)
        self._files = {f"/app/{name}": _load(name, _POLICY) for name in _APP_FILES}
        self._files |= {f"/docs/{name}": _load(name, _DOCS_POLICY) for name in _DOCS_FILES}

    def routes(self) -> list[OwnedRoute]:
        """All of them."""
        either = Described(texts=("text/html", "text/plain"))
        page = Described(texts=("text/html",))
        return [
            OwnedRoute("GET", "/", OURS, self._root, "The page, or one line", True, either),
            OwnedRoute("GET", "/app/{name}", OURS, self._file, open=True),
            OwnedRoute("GET", "/docs", OURS, self._docs_page, "This documentation", True, page),
            OwnedRoute("GET", "/docs/{name}", OURS, self._file, open=True),
        ]

    async def _root(self, visit: Visit) -> None:
        if "text/html" in visit.headers.get("accept", ""):
            await visit.answer(self._app)
        else:
            await visit.answer(Answer(200, b"Penstock is running", "text/plain; charset=utf-8"))

    async def _docs_page(self, visit: Visit) -> None:
        await visit.answer(self._docs)

    async def _file(self, visit: Visit) -> None:
        answer = self._files.get(visit.path)
        if answer is None:
            raise UnknownRouteError("no such file")
        await visit.answer(answer)


def _load(name: str, policy: str) -> Answer:
    data = (files("penstock.transports.http") / "static" / name).read_bytes()
    headers = {**_HEADERS, "content-security-policy": policy}
    return Answer(200, data, _TYPES[name.rpartition(".")[2]], headers)
