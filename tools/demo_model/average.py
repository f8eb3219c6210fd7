"""Average the weights of training runs that started from the same checkpoint."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    """Write the mean of the checkpoints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoints", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    runs = [torch.load(path, weights_only=True) for path in args.checkpoints]
    mean = dict(runs[0])
    mean["state"] = {
        name: torch.stack([run["state"][name].float() for run in runs]).mean(0)
        for name in runs[0]["state"]
    }
    mean["valid_loss"] = sum(run["valid_loss"] for run in runs) / len(runs)
    torch.save(mean, args.out)


if __name__ == "__main__":
    main()
