"""Addresses of servers, as people write them."""

from urllib.parse import SplitResult, urlsplit


def parts_of(url: str) -> SplitResult | None:
    """The pieces of an `http` or `https` address with a host and at most a port; none where it is
    no such address.

    A host with a part that is empty or too long is none: looking it up raises no `OSError`, as it
    does for one that there is not, but a `UnicodeError`, which nobody expects there.
    """
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
        if host.isascii():
            host.encode("idna")  # as the look-up will
        whole = bool(host) and parts.scheme in ("http", "https") and parts.port != 0
    except ValueError:  # of a port, of brackets, or of the host
        return None
    return parts if whole else None
