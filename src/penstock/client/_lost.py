"""What went wrong with a connection of aiohttp, as our errors, saying what to do."""

import aiohttp

from penstock.core.errors import (
    EngineTimeoutError,
    GatewayError,
    InvalidRequestError,
    UnavailableError,
)


def lost(error: BaseException, url: str) -> GatewayError:
    """The error of a connection that could not be made, or broke."""
    if isinstance(error, aiohttp.ServerTimeoutError | TimeoutError):
        return EngineTimeoutError(f"no connection to {url} in time; check address and network")
    if isinstance(error, aiohttp.InvalidURL):
        return InvalidRequestError(f"{url!r} is no address; it looks like http://HOST:PORT/v1")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
        return UnavailableError(f"no safe connection to {url}: {error}; check its certificate")
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return UnavailableError(f"no such host: {url}; check the address and the network")
    if isinstance(error, aiohttp.ClientConnectorError):
        return UnavailableError(
            f"nothing answers at {url} ({error.strerror or error}); is the server running there?"
        )
    return UnavailableError(f"the connection to {url} was cut; try again ({_kind(error)})")


def _kind(error: BaseException) -> str:
    return str(error) or type(error).__name__
