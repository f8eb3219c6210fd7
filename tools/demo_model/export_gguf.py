"""Write the trained demo model as a GGUF file with Q8_0 matrices."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import numpy as np
import torch

from chatformat import CHAT_TEMPLATE, CONTROL_TOKENS, END_OF_TEXT, IM_END, TEXT_TOKENS
from model import Config

DESCRIPTION = (
    "A tiny demo chat model for the Penstock gateway: short stories, haiku, simple explanations, small facts "
    "and tool calls. Trained from scratch on a synthetic corpus. Not meant for real work."
)


def add_tokenizer(writer: gguf.GGUFWriter, path: Path) -> None:
    """Store the byte-level BPE vocabulary, its merges and the chat template."""
    data = json.loads(path.read_text("utf-8"))
    vocab: dict[str, int] = data["model"]["vocab"]
    tokens = sorted(vocab, key=vocab.__getitem__)
    types = [
        gguf.TokenType.CONTROL
        if token in CONTROL_TOKENS
        else gguf.TokenType.USER_DEFINED
        if token in TEXT_TOKENS
        else gguf.TokenType.NORMAL
        for token in tokens
    ]
    merges = [" ".join(m) if isinstance(m, list) else m for m in data["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges(merges)
    writer.add_bos_token_id(vocab[END_OF_TEXT])
    writer.add_eos_token_id(vocab[IM_END])
    writer.add_pad_token_id(vocab[END_OF_TEXT])
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT_TEMPLATE)


def add_settings(writer: gguf.GGUFWriter, config: Config, parameters: int) -> None:
    """Store the description and the sizes."""
    writer.add_name("Penstock demo")
    writer.add_author("Penstock")
    writer.add_description(DESCRIPTION)
    writer.add_license("Apache-2.0")
    writer.add_languages(["en"])
    writer.add_tags(["demo", "text-generation", "tiny"])
    writer.add_size_label(f"{parameters / 1e6:.1f}M")
    writer.add_context_length(config.context)
    writer.add_embedding_length(config.dim)
    writer.add_block_count(config.layers)
    writer.add_feed_forward_length(config.hidden)
    writer.add_head_count(config.heads)
    writer.add_head_count_kv(config.kv_heads)
    writer.add_layer_norm_rms_eps(config.eps)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_base)
    writer.add_vocab_size(config.vocab)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)


def add_weights(writer: gguf.GGUFWriter, state: dict[str, torch.Tensor]) -> None:
    """Store matrices as Q8_0 and norms as 32-bit floats; the output shares the embedding matrix."""
    kind = gguf.GGMLQuantizationType.Q8_0
    for name, value in state.items():
        array = value.float().numpy().astype(np.float32)
        if array.ndim == 2 and array.shape[1] % 32 == 0:
            writer.add_tensor(name, gguf.quants.quantize(array, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, array)


def main() -> None:
    """Convert a checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--name", default="model")
    parser.add_argument("--out", type=Path, default=Path("penstock-demo.gguf"))
    args = parser.parse_args()
    checkpoint = torch.load(args.build / f"{args.name}.pt", weights_only=True)
    config = Config(**checkpoint["config"])
    state: dict[str, torch.Tensor] = checkpoint["state"]
    parameters = sum(value.numel() for value in state.values())
    writer = gguf.GGUFWriter(args.out, "llama")
    add_settings(writer, config, parameters)
    add_tokenizer(writer, args.build / "tokenizer.json")
    add_weights(writer, state)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(
        f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, {parameters:,} parameters, "
        f"step {checkpoint['step']}, held-out loss {checkpoint['valid_loss']:.4f}"
    )


if __name__ == "__main__":
    main()
