"""Stock pipelines with random weights: a few thousand numbers, a few milliseconds a step.

    python -m tests.images.tiny KIND FOLDER

makes one, in a process of its own: the tests themselves never import torch. KIND: `text` draws
from a text, `inpaint` needs a picture and a mask, `prude` has a checker that takes all back, `old`
is of a class that tells nobody about its steps, has no picture to start from and no other sampler.
"""

import json
import sys
from pathlib import Path

import torch
from diffusers import (
    AutoencoderKL,
    DDIMScheduler,
    LDMTextToImagePipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionPipeline,
    UNet2DConditionModel,
)
from diffusers.pipelines.latent_diffusion.pipeline_latent_diffusion import (
    LDMBertConfig,
    LDMBertModel,
)
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from transformers import (
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

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


def prude() -> StableDiffusionSafetyChecker:
    """Finds fault with everything: no likeness to any concept is below -2."""
    vision = CLIPVisionConfig(
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        image_size=16,
        patch_size=8,
    )
    checker = StableDiffusionSafetyChecker(
        CLIPConfig(vision_config=vision.to_dict(), projection_dim=8)
    )
    for name in ("concept_embeds_weights", "special_care_embeds_weights"):
        getattr(checker, name).data.fill_(-2)
    return checker


def old(words: Path) -> LDMTextToImagePipeline:
    """Latent diffusion, as it was before Stable Diffusion."""
    words.mkdir()
    (words / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red"]))
    config = LDMBertConfig(
        vocab_size=6,
        max_position_embeddings=77,
        encoder_layers=1,
        encoder_ffn_dim=WIDTH,
        encoder_attention_heads=2,
        head_dim=8,
        d_model=WIDTH,
    )
    return LDMTextToImagePipeline(
        vqvae=vae(),
        bert=LDMBertModel(config),
        tokenizer=BertTokenizer.from_pretrained(words),
        unet=unet(4),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
    )


def make(kind: str, folder: Path) -> None:
    """A pipeline's folder."""
    torch.manual_seed(1)
    if kind == "old":
        old(folder.parent / f"words-of-{folder.name}").save_pretrained(folder)
        return
    inpainting = kind == "inpaint"
    made = StableDiffusionInpaintPipeline if inpainting else StableDiffusionPipeline
    checked = kind == "prude"
    processor = CLIPImageProcessor(
        size={"shortest_edge": 16}, crop_size={"height": 16, "width": 16}
    )
    pipe = made(
        vae=vae(),
        text_encoder=text_encoder(),
        tokenizer=tokenizer(folder.parent / f"words-of-{folder.name}"),
        unet=unet(9 if inpainting else 4),
        scheduler=DDIMScheduler(steps_offset=1, clip_sample=False),
        safety_checker=prude() if checked else None,
        feature_extractor=processor if checked else None,
        requires_safety_checker=checked,
    )
    pipe.save_pretrained(folder)


if __name__ == "__main__":
    make(sys.argv[1], Path(sys.argv[2]))
