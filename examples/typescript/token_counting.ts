// Tokens by the model's own count, time to the first piece, speed.  node token_counting.ts
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
let total = 0;

for (const content of ["Hello!", "What is a river?", "Tell me a short story."]) {
  let first: number | undefined;
  let last = 0;
  let tokens = 0;
  const stream = penstock.stream({
    messages: [{ role: "user", content }],
    max_tokens: 60,
  });
  for await (const event of stream) {
    if (event.type === "text") [first, last] = [first ?? event.ms, event.ms];
    else if (event.type === "usage") tokens = event.output_tokens;
  }
  total += tokens;
  console.log(`${JSON.stringify(content)}: ${tokens} tokens, first after ${first ?? "-"} ms`);
  if (first !== undefined && last > first) {
    console.log(`  ${((tokens * 1000) / (last - first)).toFixed(1)} tokens a second`);
  }
}
console.log(`${total} tokens in all`);
