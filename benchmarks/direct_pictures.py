"""A pipeline of diffusers by itself: a seed comes in, a PNG is made, its size leaves.

    python -m benchmarks.direct_pictures FOLDER STEPS PROMPT

With the threads that the engine takes for a model this small.
"""

import sys
from io import BytesIO

import torch
from diffusers import DiffusionPipeline


def main() -> None:
    """Until the input ends."""
    folder, steps, prompt = sys.argv[1:]
    torch.set_num_threads(1)
    pipe = DiffusionPipeline.from_pretrained(folder, local_files_only=True, dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    print("ready", flush=True)
    for line in sys.stdin:
        generator = torch.Generator("cpu").manual_seed(int(line))
        image = pipe(prompt, num_inference_steps=int(steps), generator=generator).images[0]
        out = BytesIO()
        image.save(out, "PNG")
        print(len(out.getvalue()), flush=True)


if __name__ == "__main__":
    main()
