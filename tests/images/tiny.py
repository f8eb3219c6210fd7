"""Stock pipelines with random weights: a few thousand numbers, a few milliseconds a step."""

import json
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

START, END = "<|startoftext|>", "<|endoftext|>"
TOKENS = 16
WIDTH = 16


def tokenizer(folder: Path) -> CLIPTokenizer:
    """Letter by letter."""
    folder.mkdir(parents=True)
    letters = "abcdefghijklmnopqrstuvwxyz"
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), START, END]
    vocabulary = {token: n for n, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return CLIPTokenizer.from_pretrained(
        folder,
        model_max_length=TOKENS,
        bos_token=START,
        eos_token=END,
        unk_token=END,
        pad_token=END,
    )


def text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=54,
            hidden_size=WIDTH,
            intermediate_size=WIDTH,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=TOKENS,
            projection_dim=WIDTH,
            bos_token_id=52,
            eos_token_id=53,
            pad_token_id=53,
        )
    )


def vae() -> AutoencoderKL:
    """64 x 64 x 3 becomes 32 x 32 x 4."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        block_out_channels=(8, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
        mid_block_add_attention=False,
    )


def unet(channels: int) -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=32,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=WIDTH,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def make(folder: Path, *, inpainting: bool = False) -> Path:
    """A pipeline's folder. `inpainting`: one that needs a picture and a mask."""
    torch.manual_seed(1)
    kind = StableDiffusionInpaintPipeline if inpainting else StableDiffusionPipeline
    pipe = kind(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(folder.parent / f"{folder.name}-words"),
        unet=unet(9 if inpainting else 4),
        scheduler=DDIMScheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipe.save_pretrained(folder)
    return folder
