import os
import struct
from pathlib import Path

import pytest

from penstock.core.errors import ConfigError
from penstock.engines import _gguf, _llama_files

DEMO = Path(__file__).parents[3] / "src" / "penstock" / "models" / "penstock-demo.gguf"
U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10


def text(value: str) -> bytes:
    data = value.encode()
    return struct.pack("<Q", len(data)) + data


def key(name: str, kind: int, value: bytes) -> bytes:
    return text(name) + struct.pack("<I", kind) + value


def tensor(name: str, shape: tuple[int, ...], kind: int, offset: int) -> bytes:
    head = text(name) + struct.pack("<I", len(shape))
    return head + struct.pack(f"<{len(shape)}QIQ", *shape, kind, offset)


KEYS = (
    key("general.architecture", STRING, text("llama")),
    key("general.name", STRING, text("Señor Llama")),
    key("general.license", STRING, text("MIT")),
    key("general.file_type", U32, struct.pack("<I", 15)),
    key("llama.context_length", U32, struct.pack("<I", 4096)),
    key("llama.eps", F32, struct.pack("<f", 1e-5)),
    key("flag", BOOL, b"\1"),
    key("tokens", ARRAY, struct.pack("<IQ", STRING, 2) + text("a") + text("bc")),
    key("scores", ARRAY, struct.pack("<IQ3f", F32, 3, 1, 2, 3)),
    key("long", STRING, text("x" * 10_000)),
)
TENSORS = (tensor("a", (64, 2), 8, 0), tensor("b", (8,), 0, 160))
DATA = b"\0" * (160 + 32)


def gguf(
    keys: tuple[bytes, ...] = KEYS,
    tensors: tuple[bytes, ...] = TENSORS,
    data: bytes = DATA,
    *,
    version: int = 3,
    counts: tuple[int, int] | None = None,
) -> bytes:
    n_tensors, n_keys = counts or (len(tensors), len(keys))
    head = b"GGUF" + struct.pack("<IQQ", version, n_tensors, n_keys)
    head += b"".join(keys) + b"".join(tensors)
    return head + b"\0" * (-len(head) % 32) + data


def written(folder: Path, data: bytes, name: str = "m.gguf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def trouble(path: Path) -> str:
    with pytest.raises(ConfigError) as caught:
        _gguf.read(path)
    assert caught.value.param == "path"
    assert str(path.parent) not in caught.value.message
    return caught.value.message


def test_reads_what_a_card_needs(tmp_path: Path) -> None:
    file = _gguf.read(written(tmp_path, gguf()))
    assert file.title == "Señor Llama"
    assert file.architecture == "llama"
    assert file.quantization == "Q4_K_M"
    assert file.context_length == 4096
    assert file.license == "MIT"
    assert file.kind == "model"
    assert file.parameter_size is None  # 136 parameters have no unit
    assert file.size == len(gguf())


def test_reads_the_demo_model() -> None:
    card = _llama_files.card("penstock-demo", _gguf.read(DEMO))
    assert (card.family, card.quantization, card.context_size) == ("llama", "Q8_0", 1024)
    assert card.parameter_size
    assert card.size == DEMO.stat().st_size
    assert card.format == "gguf"


def test_a_size_label_is_made_from_the_tensors(tmp_path: Path) -> None:
    tensors = (tensor("a", (1024, 1280), 0, 0),)
    path = written(tmp_path, gguf(tensors=tensors, data=b"\0" * (1024 * 1280 * 4)))
    assert _gguf.read(path).parameter_size == "1.31M"


def test_missing(tmp_path: Path) -> None:
    assert trouble(tmp_path / "no.gguf") == "there is no file no.gguf"


def test_empty(tmp_path: Path) -> None:
    assert trouble(written(tmp_path, b"")) == "m.gguf is empty"


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "p.gguf")
    assert trouble(tmp_path / "p.gguf") == "p.gguf is no file"


@pytest.mark.parametrize("data", [b"x", b"PK\3\4 an archive", b"gguf" + b"\0" * 100])
def test_no_gguf(tmp_path: Path, data: bytes) -> None:
    assert trouble(written(tmp_path, data)) == "m.gguf is no GGUF file"


def test_other_versions(tmp_path: Path) -> None:
    assert "version 1" in trouble(written(tmp_path, gguf(version=1)))
    assert "big-endian" in trouble(written(tmp_path, gguf(version=0x03000000)))


def test_every_cut_of_the_header_is_told(tmp_path: Path) -> None:
    whole = gguf()
    header = len(whole) - len(DATA)
    cuts = [*range(4, 200), *range(header - 150, header)]
    for cut in cuts:
        message = trouble(written(tmp_path, whole[:cut]))
        assert "cut off" in message, (cut, message)


def test_every_cut_of_the_tensors_is_told(tmp_path: Path) -> None:
    whole = gguf()
    for cut in (1, 31, 32, 100, len(DATA)):
        assert "its tensors need" in trouble(written(tmp_path, whole[:-cut]))
    _gguf.read(written(tmp_path, whole))


def test_the_real_model_cut_anywhere(tmp_path: Path) -> None:
    whole = DEMO.read_bytes()
    for cut in (1, 1000, len(whole) // 2, len(whole) - 300):
        assert "cut off" in trouble(written(tmp_path, whole[:-cut]))


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (gguf(counts=(2, 2**63)), "keys"),
        (gguf(counts=(2**63, len(KEYS))), "tensors"),
        (gguf(keys=(struct.pack("<Q", 2**62) + b"k",)), "a name of"),
        (gguf(keys=(key("k", STRING, struct.pack("<Q", 2**62)),)), "cut off"),
        (gguf(keys=(key("k", ARRAY, struct.pack("<IQ", F32, 2**62)),)), "cut off"),
        (gguf(keys=(key("k", ARRAY, struct.pack("<IQ", STRING, 2**62)),)), "items of an array"),
        (gguf(keys=(key("k", ARRAY, struct.pack("<IQ", ARRAY, 1)),)), "unknown type 9"),
        (gguf(keys=(key("k", 99, b""),)), "unknown type 99"),
        (gguf(tensors=(tensor("a", (1, 1, 1, 1, 1), 0, 0),)), "dimensions"),
        (gguf(tensors=(tensor("a", (2**60, 2**60), 0, 0),)), "cut off"),
        (gguf(tensors=(tensor("a", (1,), 0, 2**62),)), "cut off"),
        (gguf(tensors=()), "holds no tensors"),
    ],
)
def test_a_hostile_header_is_refused(tmp_path: Path, data: bytes, word: str) -> None:
    assert word in trouble(written(tmp_path, data))


def test_a_file_that_can_not_be_read(tmp_path: Path) -> None:
    assert "can't be read: File name too long" in trouble(tmp_path / f"{'x' * 300}.gguf")


def test_a_folder_without_models(tmp_path: Path) -> None:
    written(tmp_path, b"hello", "README.md")
    with pytest.raises(ConfigError, match="there is no GGUF file in the folder") as caught:
        _llama_files.find(tmp_path)
    assert caught.value.param == "path"


def test_broken_files_of_a_folder_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path, gguf(), "b.gguf")
    written(tmp_path, gguf(), "c.GGUF")
    written(tmp_path, gguf()[:-1], "a.gguf")
    written(tmp_path, gguf(keys=(key("general.type", STRING, text("mmproj")),)), "d.gguf")
    assert list(_llama_files.find(tmp_path)) == ["b", "c"]
    assert "a.gguf is cut off" in caplog.text


def test_only_broken_files(tmp_path: Path) -> None:
    written(tmp_path, b"", "a.gguf")
    with pytest.raises(ConfigError, match=r"a\.gguf is empty"):
        _llama_files.find(tmp_path)


def test_a_model_in_parts_is_one(tmp_path: Path) -> None:
    part = gguf()
    first = gguf(keys=(*KEYS, key("split.count", U32, struct.pack("<I", 2))), tensors=(), data=b"")
    written(tmp_path, first, "big-00001-of-00002.gguf")
    with pytest.raises(ConfigError, match=r"no file big-00002-of-00002\.gguf"):
        _llama_files.find(tmp_path)
    written(tmp_path, part, "big-00002-of-00002.gguf")
    found = _llama_files.find(tmp_path)
    assert list(found) == ["big"]
    assert found["big"].size == len(first) + len(part)
