// An answer once more, with the rhythm in which it came; then twice as fast.  node replay.ts
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
const { id } = await penstock.generate({
  messages: [{ role: "user", content: "Tell me a story." }],
  max_tokens: 80,
});

for (const speed of [1, 2]) {
  const begun = performance.now();
  for await (const piece of penstock.resume(id, { speed }).text()) process.stdout.write(piece);
  const seconds = (performance.now() - begun) / 1000;
  console.log(`\n[at speed ${speed}: ${seconds.toFixed(3)} s]`);
}
