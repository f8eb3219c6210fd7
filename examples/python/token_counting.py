"""Tokens by the model's own count, time to the first one, speed, gaps."""

import asyncio
import os

from penstock import AsyncClient

URL = os.environ.get("PENSTOCK_URL", "http://127.0.0.1:9601")


async def main() -> None:
    async with AsyncClient(URL) as client:
        total = 0
        for question in ("Hello!", "What is a river?", "Tell me a short story."):
            async with client.stream(question, max_tokens=60) as stream:
                reply = await stream.result()
            metrics = stream.metrics
            tokens = reply.usage.output_tokens if reply.usage else metrics.tokens
            total += tokens
            if metrics.first_token is not None:
                print(f"{question!r}: {tokens} tokens, first after {metrics.first_token:.3f} s")
            if metrics.gap_p50 is not None and metrics.gap_p99 is not None:
                print(f"  gaps: median {metrics.gap_p50:.4f} s, p99 {metrics.gap_p99:.4f} s")
        print(total, "tokens in all")


asyncio.run(main())
