"""What a GGUF file is, from its header alone, and whether the file is whole.

llama.cpp says "failed to init" for a missing, an empty and a cut file alike; this says which.
From "GGUF" in the ggml project's documentation, versions 2 and 3. A header is never trusted: counts
and lengths are bounded by the file before anything is read or kept.
"""

import mmap
import os
import stat
import struct
from pathlib import Path
from typing import Final

import msgspec

from penstock.core.errors import ConfigError

_MOST_KEYS: Final = 65_536
_MOST_TENSORS: Final = 262_144
_MOST_ITEMS: Final = 4_194_304
_MOST_KEY_BYTES: Final = 65_535
_MOST_TEXT_BYTES: Final = 4_096
_MOST_TEMPLATE_BYTES: Final = 1_048_576
_TOKENS: Final = "tokenizer.ggml.tokens"
_MOST_DIMENSIONS: Final = 4
_STRING: Final = 8
_ARRAY: Final = 9
_SCALARS: Final = dict(enumerate(["<B", "<b", "<H", "<h", "<I", "<i", "<f", "<?"])) | {
    10: "<Q",
    11: "<q",
    12: "<d",
}

# ggml's types: values in a block, bytes of a block. A type that is not here is not measured.
_BLOCKS: Final = {
    0: (1, 4),  # F32
    1: (1, 2),  # F16
    2: (32, 18),  # Q4_0
    3: (32, 20),  # Q4_1
    6: (32, 22),  # Q5_0
    7: (32, 24),  # Q5_1
    8: (32, 34),  # Q8_0
    10: (256, 84),  # Q2_K
    11: (256, 110),  # Q3_K
    12: (256, 144),  # Q4_K
    13: (256, 176),  # Q5_K
    14: (256, 210),  # Q6_K
    20: (32, 18),  # IQ4_NL
    23: (256, 136),  # IQ4_XS
    24: (1, 1),  # I8
    25: (1, 2),  # I16
    26: (1, 4),  # I32
    27: (1, 8),  # I64
    28: (1, 8),  # F64
    30: (1, 2),  # BF16
    39: (32, 17),  # MXFP4
}

# llama.cpp's `general.file_type`.
_QUANTIZATIONS: Final = {
    0: "F32",
    1: "F16",
    2: "Q4_0",
    3: "Q4_1",
    7: "Q8_0",
    8: "Q5_0",
    9: "Q5_1",
    10: "Q2_K",
    11: "Q3_K_S",
    12: "Q3_K_M",
    13: "Q3_K_L",
    14: "Q4_K_S",
    15: "Q4_K_M",
    16: "Q5_K_S",
    17: "Q5_K_M",
    18: "Q6_K",
    19: "IQ2_XXS",
    20: "IQ2_XS",
    21: "Q2_K_S",
    22: "IQ3_XS",
    23: "IQ3_XXS",
    24: "IQ1_S",
    25: "IQ4_NL",
    26: "IQ3_S",
    27: "IQ3_M",
    28: "IQ2_S",
    29: "IQ2_M",
    30: "IQ4_XS",
    31: "IQ1_M",
    32: "BF16",
    36: "TQ1_0",
    37: "TQ2_0",
    38: "MXFP4",
}


class ModelFile(msgspec.Struct, frozen=True, kw_only=True):
    """A whole GGUF file. `size` in bytes, `modified` in seconds since the epoch.

    `kind` is `general.type`: `model`, or `adapter`, `mmproj` and the like, which can't chat.
    """

    path: Path
    size: int
    modified: int
    title: str | None = None
    kind: str = "model"
    architecture: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    context_length: int | None = None
    license: str | None = None
    embeds: bool = False
    """Whether it was made for vectors and says nothing: it names its way of pooling."""


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """All of a header. `keys`: without arrays; `vocabulary`: how many tokens there are.

    `named`: the ids of those tokens whose names were asked for.
    """

    keys: dict[str, int | float | str | bool]
    vocabulary: int
    named: dict[str, int]


def read(path: Path) -> ModelFile:
    """Reads the header and measures the file against it. Blocks on the disk.

    Raises `ConfigError` that says what is wrong with the file; its message holds the file's name,
    never its folder.
    """
    header, parameters, status = _read(path, _MOST_TEXT_BYTES, frozenset())
    keys = header.keys
    architecture = _text(keys, "general.architecture")
    file_type = keys.get("general.file_type")
    context = keys.get(f"{architecture}.context_length")
    return ModelFile(
        path=path,
        size=status.st_size,
        modified=int(status.st_mtime),
        title=_text(keys, "general.name"),
        kind=_text(keys, "general.type") or "model",
        architecture=architecture,
        parameter_size=_text(keys, "general.size_label") or _size_label(parameters),
        quantization=_QUANTIZATIONS.get(file_type) if isinstance(file_type, int) else None,
        context_length=context if isinstance(context, int) and context > 0 else None,
        license=_text(keys, "general.license"),
        embeds=f"{architecture}.pooling_type" in keys,
    )


def facts(path: Path, names: frozenset[str]) -> Facts:
    """Reads the whole header; of the vocabulary only where the tokens of these `names` stand.

    Blocks on the disk. Raises as `read` does.
    """
    header, _, _ = _read(path, _MOST_TEMPLATE_BYTES, names)
    return Facts(keys=header.keys, vocabulary=header.vocabulary, named=header.named)


def _read(path: Path, longest: int, names: frozenset[str]) -> "tuple[_Header, int, os.stat_result]":
    name = path.name or str(path)
    try:
        status = path.stat()
        # Opening a pipe would wait for its writer.
        if not stat.S_ISREG(status.st_mode):
            raise _bad(f"{name} is no file")
        with path.open("rb") as file:
            if status.st_size == 0:
                raise _bad(f"{name} is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                header = _Header(data, name, longest, names)
                return header, header.read(), status
    except FileNotFoundError as error:
        raise _bad(f"there is no file {name}") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise _bad(f"{name} can't be read: {reason}") from error


def _bad(message: str) -> ConfigError:
    return ConfigError(message, param="path")


def _text(keys: dict[str, int | float | str | bool], key: str) -> str | None:
    value = keys.get(key)
    return value if isinstance(value, str) and value else None


def _size_label(parameters: int) -> str | None:
    for unit, letter in ((10**9, "B"), (10**6, "M"), (10**3, "K")):
        if parameters >= unit:
            return f"{parameters / unit:.3g}{letter}"
    return None


class _Header:
    """A place in a file, and what every read of it must obey."""

    def __init__(self, data: mmap.mmap, name: str, longest: int, names: frozenset[str]) -> None:
        self._data = data
        self._end = len(data)
        self._at = 0
        self._name = name
        self._longest = longest
        self._names = {text.encode(): text for text in names}
        self.keys: dict[str, int | float | str | bool] = {}
        self.vocabulary = 0
        self.named: dict[str, int] = {}

    def read(self) -> int:
        """Fills the keys that have a plain value; how many parameters the tensors hold."""
        if self._data[:4] != b"GGUF":
            raise _bad(f"{self._name} is no GGUF file")
        self._at = 4
        version = self._number("<I")
        if version not in (2, 3):
            swapped = int.from_bytes(struct.pack("<I", version), "big")
            raise _bad(
                f"{self._name} is a big-endian GGUF file, made for other machines"
                if swapped in (2, 3)
                else f"{self._name} has GGUF version {version}; known are 2 and 3"
            )
        tensors = self._count("<Q", _MOST_TENSORS, "tensors")
        count = self._count("<Q", _MOST_KEYS, "keys")
        for _ in range(count):
            self._pair()
        if tensors == 0 and "split.count" not in self.keys:
            raise _bad(f"{self._name} holds no tensors: it is no model")
        return self._tensors(tensors, self.keys.get("general.alignment"))

    def _tensors(self, count: int, alignment: object) -> int:
        """Walks the tensor table; refuses a file that ends before its last tensor does."""
        step = alignment if isinstance(alignment, int) and alignment > 0 else 32
        parameters = last = 0
        for _ in range(count):
            self._string(_MOST_KEY_BYTES)
            values = 1
            for _ in range(self._count("<I", _MOST_DIMENSIONS, "dimensions of a tensor")):
                values *= self._number("<Q")
            kind, offset = self._number("<I"), self._number("<Q")
            block, size = _BLOCKS.get(kind, (0, 0))
            last = max(last, offset + (values // block * size if block else 0))
            parameters += values
        needed = -(-self._at // step) * step + last
        if needed > self._end:
            raise _bad(
                f"{self._name} is cut off: it has {self._end} bytes, its tensors need {needed}"
            )
        return parameters

    def _pair(self) -> None:
        key = (self._string(_MOST_KEY_BYTES) or b"").decode(errors="replace")
        kind = self._number("<I")
        if kind == _ARRAY:
            self._array(key)
        elif kind == _STRING:
            text = self._string(None)
            if text is not None:
                self.keys[key] = text.decode(errors="replace")
        elif kind in _SCALARS:
            self.keys[key] = self._scalar(_SCALARS[kind])
        else:
            raise self._broken(f"a value of unknown type {kind}")

    def _array(self, key: str) -> None:
        kind = self._number("<I")
        if kind in _SCALARS:
            count = self._number("<Q")
            self._skip(count * struct.calcsize(_SCALARS[kind]))
        elif kind == _STRING:
            count = self._count("<Q", _MOST_ITEMS, "items of an array")
            if key != _TOKENS:
                for _ in range(count):
                    self._skip(self._number("<Q"))
                return
            self.vocabulary = count
            for n in range(count):
                length = self._number("<Q")
                start = self._at
                self._skip(length)
                if self._names and (name := self._names.get(self._data[start : self._at])):
                    self.named[name] = n
        else:
            raise self._broken(f"an array of unknown type {kind}")

    def _string(self, limit: int | None) -> bytes | None:
        """A text; `None` for one too long to be of use, unless there is a `limit` to obey."""
        length = self._number("<Q")
        if limit is not None and length > limit:
            raise self._broken(f"a name of {length} bytes")
        start = self._at
        self._skip(length)
        return None if length > (limit or self._longest) else self._data[start : self._at]

    def _count(self, form: str, most: int, what: str) -> int:
        count = self._number(form)
        if count > most:
            raise self._broken(f"{count} {what}")
        return count

    def _number(self, form: str) -> int:
        return int(self._scalar(form))

    def _scalar(self, form: str) -> int | float | bool:
        value: int | float | bool
        try:
            (value,) = struct.unpack_from(form, self._data, self._at)
        except struct.error as error:
            raise self._cut() from error
        self._at += struct.calcsize(form)
        return value

    def _skip(self, length: int) -> None:
        if length > self._end - self._at:
            raise self._cut()
        self._at += length

    def _cut(self) -> ConfigError:
        return _bad(f"{self._name} is cut off: it ends within its header")

    def _broken(self, what: str) -> ConfigError:
        return _bad(f"{self._name} has a broken header: it claims {what}")
