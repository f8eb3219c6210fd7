// Letter by letter at a steady pace, however unevenly the answer comes.  node typewriter.ts
import { setTimeout } from "node:timers/promises";
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
const pause = Number(process.env.TYPE_SECONDS ?? 0.02) * 1000;

const stream = penstock.stream({
  messages: [{ role: "user", content: "Write a haiku." }],
  max_tokens: 60,
});
for await (const piece of stream.text()) {
  for (const letter of piece) {
    process.stdout.write(letter);
    await setTimeout(pause);
  }
}
console.log();
