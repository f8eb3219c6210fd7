"""Builds the tokenizer from the captions' words: byte pairs merged until each word is one token."""

import json
import random
import re
from pathlib import Path

from captions import FILLERS, OPENINGS, caption
from meaning import KINDS
from tokenizers import Tokenizer, models, trainers
from transformers import CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,!?'-"


def known_words() -> list[str]:
    """Every word of the grammar, sorted."""
    rng = random.Random(0)
    texts = [caption(kind(rng), rng, plain=rng.random() < 0.5) for kind in KINDS.values()
             for _ in range(20_000)]  # fmt: skip
    count: dict[str, int] = {}
    for word in re.findall(r"[a-z]+|[0-9]|[.,!?]", " ".join(texts)):
        count[word] = count.get(word, 0) + 1
    told = {word for word, times in count.items() if times >= 20}
    return sorted(told | set(FILLERS) | set(" ".join(OPENINGS).split()))


def make_tokenizer(folder: Path, length: int) -> CLIPTokenizer:
    """Write `vocab.json` and `merges.txt`, load them the stock way, and check every word."""
    folder.mkdir(parents=True, exist_ok=True)
    words = known_words()
    model = Tokenizer(models.BPE(unk_token=END, end_of_word_suffix="</w>"))
    alphabet = sorted(LETTERS)
    trainer = trainers.BpeTrainer(
        vocab_size=5000,
        min_frequency=1,
        initial_alphabet=alphabet,
        end_of_word_suffix="</w>",
        show_progress=False,
    )
    model.train_from_iterator([*words, *(letter for letter in alphabet)], trainer)
    model.model.save(str(folder))
    with (folder / "vocab.json").open() as file:
        tokens = [*json.load(file)]
    tokens += [letter + "</w>" for letter in alphabet if letter + "</w>" not in tokens]
    vocabulary = {token: at for at, token in enumerate([*tokens, START, END])}
    with (folder / "vocab.json").open("w") as file:
        json.dump(vocabulary, file)
    made = CLIPTokenizer.from_pretrained(
        folder, model_max_length=length, bos_token=START, eos_token=END, unk_token=END,
        pad_token=END,
    )  # fmt: skip
    for word in words:
        if len(made(word)["input_ids"]) != 3:
            raise ValueError(f"{word!r} is not one token: {made.tokenize(word)}")
    made.save_pretrained(folder)
    return made
