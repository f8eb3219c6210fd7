"""`multipart/form-data` bodies (RFC 7578), whole: what they carry is bounded before."""

from collections.abc import Sequence
from secrets import token_hex

import msgspec

from penstock.core.errors import InvalidRequestError


class File(msgspec.Struct, frozen=True):
    """One file of a form."""

    field: str
    filename: str
    media_type: str
    data: bytes


def form(
    fields: Sequence[tuple[str, str]], files: Sequence[File], boundary: str = ""
) -> tuple[str, bytes]:
    """The `Content-Type` and the body. `boundary`: of the caller's choosing, else a random one.

    Raises `InvalidRequestError` for a text that would end the part that it stands in.
    """
    boundary = boundary or f"penstock-{token_hex(16)}"
    pieces: list[bytes] = []
    for name, value in fields:
        if boundary in value:
            raise InvalidRequestError(f"{name}: can't be sent", param=name)
        head = f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
        pieces += [head.encode(), value.encode(), b"\r\n"]
    for file in files:
        head = (
            f"--{boundary}\r\nContent-Disposition: form-data; "
            f'name="{file.field}"; filename="{file.filename}"\r\n'
            f"Content-Type: {file.media_type}\r\n\r\n"
        )
        pieces += [head.encode(), file.data, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return f"multipart/form-data; boundary={boundary}", b"".join(pieces)
