"""Train the tokenizer and the demo model on the corpus, on a CPU."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    pre_tokenizers,
    trainers,
)

from chatformat import CONTROL_TOKENS, TEXT_TOKENS, Segment, segments
from model import Config, Model

Sample = tuple[np.ndarray, np.ndarray]
"""Token ids of one conversation, and how much each counts."""

# The "qwen2" pre-tokenizer of llama.cpp: digits one by one, words with a leading space.
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def conversations(path: Path) -> Iterator[list[Segment]]:
    """The rendered conversations of a split."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield segments(json.loads(line))


def train_tokenizer(path: Path, vocab: int) -> Tokenizer:
    """Byte-level BPE that can encode any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = CONTROL_TOKENS + TEXT_TOKENS
    trainer = trainers.BpeTrainer(
        vocab_size=vocab,
        special_tokens=[
            AddedToken(t, special=t in CONTROL_TOKENS, normalized=False) for t in special
        ],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    texts = ("".join(text for text, _ in parts) for parts in conversations(path))
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encode(path: Path, tokenizer: Tokenizer, context: int) -> list[Sample]:
    """Encode a split; conversations longer than the context are cut."""
    samples = []
    for parts in conversations(path):
        ids: list[int] = []
        mask: list[int] = []
        for text, learn in parts:
            piece = tokenizer.encode(text).ids
            ids += piece
            mask += [learn] * len(piece)
        samples.append((np.array(ids[:context], np.int32), np.array(mask[:context], np.int8)))
    return samples


def batches(samples: list[Sample], budget: int, rng: np.random.Generator) -> list[list[Sample]]:
    """Group conversations of similar length, so that a batch has little padding and no mixed context."""
    lengths = np.array([len(ids) for ids, _ in samples]) * rng.uniform(0.95, 1.05, len(samples))
    out: list[list[Sample]] = []
    batch: list[Sample] = []
    longest = 0
    for index in np.argsort(lengths):
        sample = samples[index]
        longest = max(longest, len(sample[0]))
        if batch and longest * (len(batch) + 1) > budget:
            out.append(batch)
            batch, longest = [], len(sample[0])
        batch.append(sample)
    out.append(batch)
    return [out[i] for i in rng.permutation(len(out))]


def collate(batch: list[Sample]) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad a batch at the end; padding is never learned and never attended to."""
    length = max(len(ids) for ids, _ in batch)
    length += -(length - 1) % 16
    tokens = torch.zeros(len(batch), length, dtype=torch.long)
    weights = torch.zeros(len(batch), length, dtype=torch.int8)
    for row, (ids, mask) in enumerate(batch):
        tokens[row, : len(ids)] = torch.from_numpy(ids.astype(np.int64))
        weights[row, : len(mask)] = torch.from_numpy(mask)
    return tokens, weights


def evaluate(model: Model, groups: list[list[Sample]], bf16: bool) -> float:
    """Mean held-out loss per learned token."""
    total, count = 0.0, 0
    model.eval()
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        for batch in groups:
            loss, n = model.loss(*collate(batch))
            total += loss.item()
            count += int(n)
    model.train()
    return total / count


def optimizers(model: Model, kind: str, rate: float) -> list[torch.optim.Optimizer]:
    """AdamW for everything, or Muon for the matrices and AdamW for the rest."""
    matrices = [p for n, p in model.named_parameters() if p.dim() == 2 and "token_embd" not in n]
    others = [p for n, p in model.named_parameters() if p.dim() != 2 or "token_embd" in n]
    if kind == "muon":
        return [
            torch.optim.Muon(
                matrices, lr=rate * 1.5, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=rate, betas=(0.9, 0.97), weight_decay=0.0),
        ]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return [torch.optim.AdamW(groups, lr=rate, betas=(0.9, 0.97))]


def schedule(step: int, progress: float, warmup: int) -> float:
    """Linear warm-up, then a cosine down to three per cent."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.03 + 0.97 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))


def save(model: Model, path: Path, step: int, loss: float) -> None:
    """Write a checkpoint."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save(
        {"config": model.config.as_dict(), "state": state, "step": step, "valid_loss": loss}, path
    )


def main() -> None:
    """Train with checkpoints and a log of losses."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--build", type=Path, default=Path("build"))
    parser.add_argument("--name", default="model")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        help="finish within this time, with fewer steps if need be",
    )
    parser.add_argument("--init", type=Path, help="start from the weights of this checkpoint")
    parser.add_argument("--batch-tokens", type=int, default=8192)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--warmup", type=int, default=60)
    parser.add_argument("--optimizer", choices=["adamw", "muon"], default="adamw")
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--eval-every", type=int, default=250)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--compile", action=argparse.BooleanOptionalAction, default=False)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    config = Config(layers=args.layers)
    path = args.build / "tokenizer.json"
    if not path.exists():
        train_tokenizer(args.build / "train.jsonl", config.vocab).save(str(path))
    tokenizer = Tokenizer.from_file(str(path))
    train = encode(args.build / "train.jsonl", tokenizer, config.context)
    valid = encode(args.build / "valid.jsonl", tokenizer, config.context)
    held_out = batches(valid, args.batch_tokens, np.random.default_rng(0))
    total = sum(len(ids) for ids, _ in train)
    learned = sum(int(mask.sum()) for _, mask in train)
    model = Model(config)
    if args.init:
        model.load_state_dict(torch.load(args.init, weights_only=True)["state"])
    print(
        f"{model.parameter_count():,} parameters, {total:,} training tokens, {learned:,} learned",
        flush=True,
    )
    opts = optimizers(model, args.optimizer, args.rate)
    for opt in opts:
        for group in opt.param_groups:
            group["base"] = group["lr"]
    objective = torch.compile(model.loss, dynamic=True) if args.compile else model.loss
    log = (args.build / f"{args.name}.log.jsonl").open("w")
    best, seen, running = math.inf, 0, 0.0
    queue: list[list[Sample]] = []
    started = time.time()
    for step in range(args.steps):
        progress = max(step / args.steps, (time.time() - started) / (60 * args.minutes))
        if not queue:
            queue = batches(train, args.batch_tokens, rng)
        tokens, weights = collate(queue.pop())
        for opt in opts:
            for group in opt.param_groups:
                group["lr"] = group["base"] * schedule(step, progress, args.warmup)
        with torch.autocast("cpu", torch.bfloat16, enabled=args.bf16):
            loss, count = objective(tokens, weights)
        (loss / count).backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for opt in opts:
            opt.step()
            opt.zero_grad(set_to_none=True)
        seen += tokens.numel()
        running += float(loss.detach() / count)
        if (step + 1) % 50 == 0:
            speed = seen / (time.time() - started)
            print(f"step {step + 1} loss {running / 50:.4f} {speed:.0f} tokens/s", flush=True)
            running = 0.0
        last = step + 1 == args.steps or progress >= 1
        if (step + 1) % args.eval_every == 0 or last:
            held = evaluate(model, held_out, args.bf16)
            row = {
                "step": step + 1,
                "valid_loss": round(held, 4),
                "tokens": seen,
                "seconds": round(time.time() - started),
            }
            print(row, flush=True)
            log.write(json.dumps(row) + "\n")
            log.flush()
            if held < best:
                best = held
                save(model, args.build / f"{args.name}.pt", step + 1, held)
        if last:
            break


if __name__ == "__main__":
    main()
