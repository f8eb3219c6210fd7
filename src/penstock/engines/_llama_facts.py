"""What a GGUF's header says about its model, beyond what a listing needs."""

import math
from pathlib import Path
from typing import Final

import msgspec

from penstock.engines import _gguf
from penstock.engines._gguf import Facts

_TEMPLATE: Final = "tokenizer.chat_template"
_FILLS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "prefix": (
        ("tokenizer.ggml.fim_pre_token_id", "tokenizer.ggml.prefix_token_id"),
        (
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<\uff5cfim\u2581begin\uff5c>",
            "<PRE>",
            "\u2581<PRE>",
            "<|code_prefix|>",
        ),
    ),
    "suffix": (
        ("tokenizer.ggml.fim_suf_token_id", "tokenizer.ggml.suffix_token_id"),
        (
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<\uff5cfim\u2581hole\uff5c>",
            "<SUF>",
            "\u2581<SUF>",
            "<|code_suffix|>",
        ),
    ),
    "middle": (
        ("tokenizer.ggml.fim_mid_token_id", "tokenizer.ggml.middle_token_id"),
        (
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<\uff5cfim\u2581end\uff5c>",
            "<MID>",
            "\u2581<MID>",
            "<|code_middle|>",
        ),
    ),
}
"""Keys and names by which llama.cpp (src/llama-vocab.cpp) finds the tokens of a gap."""

_NAMES: Final = frozenset(name for _, names in _FILLS.values() for name in names)
_THINKING: Final = ("enable_thinking", "reasoning_effort", "<think>", "reasoning_content")


class Gap(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens around a gap that the model was trained to fill."""

    prefix: int
    suffix: int
    middle: int


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """One model, known from its header. `bos` and `eos` are token ids, where it has them."""

    metadata: dict[str, int | float | str | bool]
    template: str
    license: str
    vocabulary: int
    bos: int | None
    eos: int | None
    gap: Gap | None
    capabilities: tuple[str, ...]


def read(path: Path) -> Known:
    """Blocks on the disk. Raises `ConfigError` when the file can't be read any more."""
    facts = _gguf.facts(path, _NAMES)
    keys = facts.keys
    template = keys.get(_TEMPLATE)
    told = template if isinstance(template, str) else ""
    gap = _gap(facts)
    name = keys.get("general.license")
    # An infinity has no JSON.
    metadata = {
        key: value
        for key, value in keys.items()
        if key != _TEMPLATE and not (isinstance(value, float) and not math.isfinite(value))
    }
    return Known(
        metadata=metadata,
        template=told,
        license=name if isinstance(name, str) else "",
        vocabulary=facts.vocabulary,
        bos=_id(facts, "tokenizer.ggml.bos_token_id"),
        eos=_id(facts, "tokenizer.ggml.eos_token_id"),
        gap=gap,
        capabilities=_capabilities(facts, told, gap),
    )


def _capabilities(facts: Facts, template: str, gap: Gap | None) -> tuple[str, ...]:
    """In Ollama's words, and by its rules (server/images.go, `Capabilities`)."""
    if f"{facts.keys.get('general.architecture')}.pooling_type" in facts.keys:
        return ("embedding",)
    found = ["completion"]
    if "tools" in template:
        found.append("tools")
    if gap is not None:
        found.append("insert")
    if any(word in template for word in _THINKING):
        found.append("thinking")
    return tuple(found)


def _gap(facts: Facts) -> Gap | None:
    found: dict[str, int] = {}
    for part, (keys, names) in _FILLS.items():
        ids = [_id(facts, key) for key in keys] + [facts.named.get(name) for name in names]
        known = next((n for n in ids if n is not None), None)
        if known is None:
            return None
        found[part] = known
    return Gap(prefix=found["prefix"], suffix=found["suffix"], middle=found["middle"])


def _id(facts: Facts, key: str) -> int | None:
    value = facts.keys.get(key)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value < facts.vocabulary else None


def cache(known: Known, tokens: int) -> int:
    """Bytes of the keys and values of so many tokens, at two bytes a number; 0 when unknown."""

    def number(name: str) -> int:
        value = known.metadata.get(f"{known.metadata.get('general.architecture')}.{name}")
        return value if isinstance(value, int) else 0

    heads = number("attention.head_count")
    size = number("embedding_length") // heads if heads else 0
    keys = number("attention.key_length") or size
    values = number("attention.value_length") or size
    groups = number("attention.head_count_kv") or heads
    return tokens * number("block_count") * groups * (keys + values) * 2
