"""Splits a GGUF file as llama.cpp's `gguf-split` does.

From its source (tools/gguf-split/gguf-split.cpp): the first part has all keys of the model, each
has `split.no`, `split.count` and `split.tensors.count`, and its share of the tensors. The format is
"GGUF" in the ggml project's documentation, version 3.
"""

import struct

U16, I32, STRING, ARRAY = 2, 5, 8, 9
SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
ALIGNMENT = 32


class Header:
    """Where in a file its keys, tensors and data are."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 24
        magic, version, tensors, self.count = struct.unpack_from("<4sIQQ", content)
        assert (magic, version) == (b"GGUF", 3)
        for _ in range(self.count):
            assert self._string() != b"general.alignment"
            self._value(self._number("<I"))
        self.keys = content[24 : self.at]
        self.tensors = [self._tensor() for _ in range(tensors)]
        self.data = content[-(-self.at // ALIGNMENT) * ALIGNMENT :]

    def _number(self, form: str) -> int:
        (found,) = struct.unpack_from(form, self.content, self.at)
        self.at += struct.calcsize(form)
        return int(found)

    def _string(self) -> bytes:
        length = self._number("<Q")
        self.at += length
        return self.content[self.at - length : self.at]

    def _value(self, kind: int) -> None:
        if kind == STRING:
            self._string()
        elif kind == ARRAY:
            inner, count = self._number("<I"), self._number("<Q")
            for _ in range(count):
                self._value(inner)
        else:
            self.at += SIZES[kind]

    def _tensor(self) -> tuple[bytes, int]:
        """What is said of it but for its place, and that."""
        begun = self.at
        self._string()
        dimensions = self._number("<I")
        self.at += 8 * dimensions + 4
        return self.content[begun : self.at], self._number("<Q")


def key(name: str, kind: int, form: str, value: int) -> bytes:
    return struct.pack("<Q", len(name)) + name.encode() + struct.pack("<I" + form, kind, value)


def split(content: bytes, parts: int) -> list[bytes]:
    """The parts, in their order."""
    header = Header(content)
    tensors = sorted(header.tensors, key=lambda tensor: tensor[1])
    ends = [offset for _, offset in tensors[1:]] + [len(header.data)]
    pieces = [
        (about, header.data[offset:end]) for (about, offset), end in zip(tensors, ends, strict=True)
    ]
    share = -(-len(pieces) // parts)
    return [_part(header, n, parts, pieces[n * share : (n + 1) * share]) for n in range(parts)]


def _part(header: Header, n: int, parts: int, pieces: list[tuple[bytes, bytes]]) -> bytes:
    own = key("split.no", U16, "H", n) + key("split.count", U16, "H", parts)
    own += key("split.tensors.count", I32, "i", len(header.tensors))
    keys, count = (header.keys + own, header.count + 3) if n == 0 else (own, 3)
    about, data = b"", b""
    for said, piece in pieces:
        about += said + struct.pack("<Q", len(data))
        data += piece + bytes(-len(piece) % ALIGNMENT)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(pieces), count) + keys + about
    return head + bytes(-len(head) % ALIGNMENT) + data
