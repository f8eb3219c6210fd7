"""Steps over the standard library's `http.client`, for programs without an event loop."""

import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import suppress
from select import select
from typing import Final, TypeVar, cast
from urllib.parse import urlsplit

from penstock.client._chunked import Chunked
from penstock.client._proxies import Proxy, proxy_of
from penstock.client._refusals import closed
from penstock.client.steps import (
    Open,
    Read,
    RefusedConnectionError,
    SilenceError,
    Sleep,
    Step,
    Steps,
    taken,
)
from penstock.core.errors import EngineTimeoutError, GatewayError, UnavailableError

T = TypeVar("T")
Place = tuple[str, str]
_AT_ONCE: Final = 64 * 1024
_KEPT: Final = 8
"""Idle connections of one server."""
_LEAST: Final = 1e-3
"""A socket's timeout of 0 would mean: do not wait at all."""


class _Answer:
    """See `steps.Opened`."""

    def __init__(
        self, pool: "SyncHttp", place: Place, connection: http.client.HTTPConnection
    ) -> None:
        self._pool = pool
        self._place = place
        self._connection = connection
        # `getresponse` drops it from the connection when the server will close it.
        self._socket: socket.socket = connection.sock
        self._response = connection.getresponse()
        self.status = self._response.status
        self.headers: Mapping[str, str] = {
            name.lower(): value for name, value in self._response.getheaders()
        }
        # A server's `Connection: close` with a chunked body is no different here.
        self._chunked = Chunked() if self._response.chunked else None
        self._ended = self._response.isclosed()
        self._open = True

    def read(self, seconds: float) -> bytes:
        if self._ended:
            return b""
        try:
            self._socket.settimeout(max(seconds, _LEAST))
            data = self._some() if self._chunked is None else self._of_chunks(self._chunked)
            if not self._open:
                raise http.client.IncompleteRead(data)
        except TimeoutError as error:
            raise SilenceError from error
        except (http.client.HTTPException, OSError, ValueError) as error:
            raise _cut(self._place, error) from error
        return data

    def _some(self) -> bytes:
        data = self._response.read1(_AT_ONCE)
        if not data and self._response.length:
            raise http.client.IncompleteRead(b"", self._response.length)
        self._ended = self._response.isclosed() or not data
        return data

    def _of_chunks(self, chunked: Chunked) -> bytes:
        """All chunks that one read of the socket brings: `http.client` gives one at a time."""
        while True:
            source = self._response.fp
            data = source.read1(_AT_ONCE) if source is not None else b""
            if not data:
                raise http.client.IncompleteRead(b"")
            found = chunked.feed(data)
            self._ended = chunked.finished
            if found or self._ended:
                return found

    def close(self) -> None:
        if not self._open:
            return
        self._open = False
        self._pool.used.discard(self)
        whole = self._ended and (self._chunked is None or not self._chunked.rest)
        if not whole:
            # A thread that reads it now holds a lock that `close` would wait for.
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
        self._response.close()
        if whole and self._connection.sock is not None:
            self._pool.keep(self._place, self._connection)
        else:
            self._connection.close()


class SyncHttp:
    """Takes steps, each to its end. May be used from many threads: each has what it opened."""

    def __init__(self) -> None:
        self._idle: dict[Place, list[http.client.HTTPConnection]] = {}
        self._closed = False
        self.used: set[_Answer] = set()

    def run(self, steps: Steps[T]) -> T:
        """All steps of one piece of work; its value."""
        return taken(steps, self._take)

    def close(self) -> None:
        """Closes every connection."""
        self._closed = True
        for answer in list(self.used):
            answer.close()
        for connections in list(self._idle.values()):
            while connections:
                connections.pop().close()

    def keep(self, place: Place, connection: http.client.HTTPConnection) -> None:
        """A connection whose answer was read to its end."""
        idle = self._idle.setdefault(place, [])
        if self._closed or len(idle) >= _KEPT:
            connection.close()
        else:
            idle.append(connection)

    def _take(self, step: Step) -> object:
        if isinstance(step, Read):
            return cast("_Answer", step.opened).read(step.seconds)
        if isinstance(step, Open):
            return self._open(step)
        if isinstance(step, Sleep):
            time.sleep(step.seconds)
            return None
        raise TypeError("this driver has no loop to await in")

    def _open(self, step: Open) -> _Answer:
        if self._closed:
            raise closed()
        parts = urlsplit(step.url)
        place = (parts.scheme, parts.netloc)
        proxy = proxy_of(step.url)
        connection = self._idle_one(place) or _connected(place, proxy, step.connect)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        headers = {"Accept-Encoding": "identity", **step.headers}
        if proxy is not None and parts.scheme == "http":
            target = step.url
            headers.update(proxy.headers)
        try:
            connection.sock.settimeout(max(step.seconds, _LEAST))
            connection.request(step.method, target or "/", step.body, headers)
            answer = _Answer(self, place, connection)
        except TimeoutError as error:
            connection.close()
            raise SilenceError from error
        except (http.client.HTTPException, OSError) as error:
            connection.close()
            raise _cut(place, error) from error
        except BaseException:
            connection.close()
            raise
        self.used.add(answer)
        return answer

    def _idle_one(self, place: Place) -> http.client.HTTPConnection | None:
        """One that the server has not closed meanwhile."""
        idle = self._idle.get(place)
        while idle:
            try:
                connection = idle.pop()
            except IndexError:  # another thread was faster
                return None
            # Whatever can be read from an idle connection is its end.
            with suppress(OSError, ValueError):
                if not select([connection.sock], [], [], 0)[0]:
                    return connection
            connection.close()
        return None


def _connected(place: Place, proxy: Proxy | None, seconds: float) -> http.client.HTTPConnection:
    scheme, netloc = place
    connection: http.client.HTTPConnection
    at = netloc if proxy is None else proxy.place
    if scheme == "https":
        connection = http.client.HTTPSConnection(at, timeout=seconds)
        if proxy is not None:
            connection.set_tunnel(netloc, headers=proxy.headers)
    else:
        connection = http.client.HTTPConnection(at, timeout=seconds)
    url = f"{scheme}://{netloc}"
    refused = RefusedConnectionError(url)
    try:
        connection.connect()
    except TimeoutError:
        text = f"no connection to {url} in time; check address and network"
        raise EngineTimeoutError(text) from refused
    except ssl.SSLError as error:
        text = f"no safe connection to {url}: {error}; check its certificate"
        raise UnavailableError(text) from refused
    except socket.gaierror:
        text = f"no such host: {url}; check the address and the network"
        raise UnavailableError(text) from refused
    except OSError as error:
        text = f"nothing answers at {url} ({error.strerror or error}); is the server running there?"
        raise UnavailableError(text) from refused
    return connection


def _cut(place: Place, error: Exception) -> GatewayError:
    what = str(error) or type(error).__name__
    return UnavailableError(f"the connection to {place[0]}://{place[1]} was cut ({what})")
