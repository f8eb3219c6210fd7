"""What a pipeline of diffusers draws when nothing of Penstock is between: the pixels, as PNG.

python -m tests.images.direct FOLDER PROMPT STEPS SEED OUT
"""

import sys

import torch
from diffusers import DiffusionPipeline


def main() -> None:
    folder, prompt, steps, seed, out = sys.argv[1:]
    torch.set_num_threads(1)
    pipe = DiffusionPipeline.from_pretrained(folder, local_files_only=True)
    generator = torch.Generator("cpu").manual_seed(int(seed))
    made = pipe(prompt, num_inference_steps=int(steps), generator=generator)
    made.images[0].save(out)


if __name__ == "__main__":
    main()
