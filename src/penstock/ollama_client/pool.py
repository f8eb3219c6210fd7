"""Connections: kept and used again, read by a clock, closed from any thread. On `http.client`."""

import base64
import select
import socket
import ssl
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from time import monotonic
from typing import Final
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from penstock.ollama_client.clocks import Clock
from penstock.ollama_client.exchange import Exchange, Link
from penstock.ollama_client.troubles import (
    TroubleError,
    closed,
    cut,
    shown,
    unreachable,
    unsendable,
)

_MOST_IDLE: Final = 20
_IDLE_SECONDS: Final = 60.0
"""Servers close what is idle for longer (Penstock after 75 s); what they closed is found out."""
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})

_PROXYS: Final = "Proxy-Authorization"

Key = tuple[str, str, int | None]


class Pool:
    """Connections to servers. May be used from many threads."""

    def __init__(self) -> None:
        self._lock = threading.Condition(threading.Lock())
        self._idle: dict[Key, deque[tuple[float, Link]]] = {}
        self._used: set[Link] = set()
        self._tls: ssl.SSLContext | None = None
        self.closings = 0
        # A program that ends, or drops its client, without closing it leaves no socket behind.
        weakref.finalize(self, _destroy, self._idle)

    def ask(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None, clock: Clock
    ) -> Exchange:
        """Sends a request and waits for the head of its answer. Raises `TroubleError`.

        A request is sent once: where that went wrong, nobody knows whether it was carried out.
        """
        parts = _split(url)
        link = self._link(parts, url, clock)
        try:
            target = f"{parts.path or '/'}{f'?{parts.query}' if parts.query else ''}"
            if link.proxied is not None:
                target = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{target}"
            link.wire.begin(clock)
            sent = {**_basic("Authorization", parts), **headers, **(link.proxied or {})}
            link.connection.request(method, target, body, sent)
            return Exchange(link, link.connection.getresponse(), self._give_back)
        except BaseException as error:
            self._drop(link)
            if isinstance(error, HTTPException | OSError | ValueError):
                raise self.trouble(link, error) from error
            raise

    def trouble(self, link: Link, error: Exception) -> TroubleError:
        """What a failed read or write means."""
        if link.wire.shut:
            return closed()
        return cut(str(error) or type(error).__name__)

    def closed_within(self, seconds: float, closings: int) -> bool:
        """Waits so long, or until `close` is called once more than `closings` times: whether it
        was.
        """
        with self._lock:
            return self._lock.wait_for(lambda: self.closings != closings, seconds)

    def close(self) -> None:
        """Closes every connection; who reads from one is told so. A later request opens another."""
        with self._lock:
            self.closings += 1
            self._lock.notify_all()
            idle = [link for links in self._idle.values() for _, link in links]
            used = list(self._used)
            self._idle.clear()
        for link in used:
            link.wire.shut_down()
        for link in idle:
            link.wire.destroy()

    def _link(self, parts: SplitResult, url: str, clock: Clock) -> Link:
        key = (parts.scheme, parts.hostname or "", parts.port)
        link = self._waiting(key) or self._open(parts, key, url, clock)
        with self._lock:
            self._used.add(link)
        return link

    def _waiting(self, key: Key) -> Link | None:
        while True:
            with self._lock:
                links = self._idle.get(key)
                if not links:
                    return None
                since, link = links.pop()
            # One that can be read has been closed by the server, or has said what nobody asked.
            if monotonic() - since < _IDLE_SECONDS and not _readable(link.wire.socket):
                return link
            link.wire.destroy()

    def _open(self, parts: SplitResult, key: Key, url: str, clock: Clock) -> Link:
        scheme, host, port = key
        proxy = _proxy(scheme, host)
        connection: HTTPConnection
        at = (proxy.hostname or "", proxy.port or 80) if proxy else (host, port)
        if scheme == "https":
            with self._lock:
                self._tls = self._tls or ssl.create_default_context()
            connection = HTTPSConnection(*at, timeout=clock.left(), context=self._tls)
        else:
            connection = HTTPConnection(*at, timeout=clock.left())
        if proxy and scheme == "https":
            connection.set_tunnel(host, port, _basic(_PROXYS, proxy))
        try:
            connection.connect()
        except (OSError, HTTPException, UnicodeError) as error:
            connection.close()
            if isinstance(error, TimeoutError):
                clock.left()
            raise unreachable(url, error) from error
        return Link(connection, key, _basic(_PROXYS, proxy) if proxy and scheme == "http" else None)

    def _give_back(self, link: Link, reusable: bool) -> None:
        if not reusable or link.wire.shut:
            self._drop(link)
            return
        with self._lock:
            self._used.discard(link)
            links = self._idle.setdefault(link.key, deque())
            links.append((monotonic(), link))
            surplus = links.popleft()[1] if len(links) > _MOST_IDLE else None
        if surplus is not None:
            surplus.wire.destroy()

    def _drop(self, link: Link) -> None:
        with self._lock:
            self._used.discard(link)
        link.wire.destroy()


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        asked = parts.path + parts.query
        if parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0:
            if asked.isascii() and asked.isprintable() and " " not in asked:
                return parts
            reason = "its path has characters that must be percent-encoded"
        else:
            reason = "no address"
    except ValueError as error:
        reason = "no address" if "@" in url else str(error)  # which may show a part of a password
    text = f"config.url: {shown(url)!r}: {reason}; it looks like http://HOST:PORT/api/generate"
    raise unsendable(text, "config.url")


def _destroy(idle: dict[Key, deque[tuple[float, Link]]]) -> None:
    for links in idle.values():
        for _, link in links:
            link.wire.destroy()


def _readable(found: socket.socket) -> bool:
    poll = select.poll()
    poll.register(found, select.POLLIN)
    return bool(poll.poll(0))


def _proxy(scheme: str, host: str) -> SplitResult | None:
    """The environment's proxy for a host; never one for this machine itself."""
    if host in _LOOPBACK or proxy_bypass(host):
        return None
    found = getproxies().get(scheme)
    if not found:
        return None
    try:
        parts = urlsplit(found if "://" in found else f"http://{found}")
        if parts.hostname and parts.port != 0:
            return parts
    except ValueError:
        pass  # its text may show a part of the proxy's password
    raise unsendable(f"{scheme}_proxy: no address; it looks like http://HOST:PORT")


def _basic(header: str, parts: SplitResult) -> dict[str, str]:
    """The name and the password of an address, as they are sent."""
    if not parts.username:
        return {}
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
    return {header: f"Basic {base64.b64encode(pair).decode()}"}
