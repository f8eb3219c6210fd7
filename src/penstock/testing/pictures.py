"""The pictures of golden vectors: bytes of `blobs/SHA256` where an answer has a place for them."""

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from penstock.core.ports import Shown
from penstock.wire import pictures

ADDRESS: Final = "http://127.0.0.1:9600/v1/images/vector/{sha256}?until=0&signature=0"
"""What a signed address is in a vector: the gateway's own depend on its key and its clock."""


def filled(folder: Path, data: bytes, shown: Sequence[Shown]) -> bytes:
    """`data` with its places filled by what lies in the `blobs` of a case."""
    return pictures.filled(data, [_text(folder, one) for one in shown]) if shown else data


def _text(folder: Path, shown: Shown) -> bytes:
    blob = shown.blob
    if shown.form == "address":
        return ADDRESS.format(sha256=blob.sha256).encode()
    data = (folder / "blobs" / blob.sha256).read_bytes()
    assert sha256(data).hexdigest() == blob.sha256, f"{folder.name}: {blob.sha256} is another"
    assert len(data) == blob.size, f"{folder.name}: {blob.sha256} has {len(data)} bytes"
    return pictures.base64(data)
