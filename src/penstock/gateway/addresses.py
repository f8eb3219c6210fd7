"""Addresses of pictures that are good without a key, for a while."""

import hmac
from hashlib import sha256
from typing import Final

from penstock.core.errors import ForbiddenError
from penstock.core.secrets import Secret

_STEP: Final = 300
"""Seconds that ends of validity are rounded up to: what is rendered again soon is the same."""


class Addresses:
    """Signs and checks. `key` is 64 hex digits; whoever has it can make addresses of any picture.

    `seconds`: how long an address is good at least.
    """

    def __init__(self, key: Secret, seconds: int) -> None:
        self._key = key
        self._seconds = seconds

    def address(self, stream: str, sha: str, now: int) -> str:
        """Path and query. `now` in seconds since the epoch."""
        until = -(-(now + self._seconds) // _STEP) * _STEP
        return f"/v1/images/{stream}/{sha}?until={until}&signature={self._sign(stream, sha, until)}"

    def check(self, stream: str, sha: str, until: int, signature: str, now: int) -> None:
        """Raises `ForbiddenError` for an address that was not made here, or is too old."""
        signed = self._sign(stream, sha, until)
        if not hmac.compare_digest(signed.encode(), signature.encode("utf-8", "replace")):
            raise ForbiddenError("this address of a picture is not one of ours", param="signature")
        if now > until:
            raise ForbiddenError("this address of a picture has expired", param="until")

    def _sign(self, stream: str, sha: str, until: int) -> str:
        said = f"{stream}/{sha}/{until}".encode()
        return hmac.new(self._key.reveal().encode(), said, sha256).hexdigest()
