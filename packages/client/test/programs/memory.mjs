// Reads a long stream of typed events and tells what memory it takes, each ten million bytes.
// Run with --expose-gc; the address is the argument.
import { Penstock } from "../../dist/index.js";

const penstock = new Penstock(process.argv[2]);
// Once before: the engine compiles while it warms up, and that takes memory too.
for await (const event of penstock.resume("large")) if (event.seq > 50_000) break;
const stream = penstock.resume("large");
const seen = [];
let bytes = 0;
let next = 10_000_000;
let last = 0;
for await (const event of stream) {
  if (event.seq !== last + 1) throw new Error(`event ${event.seq} after ${last}`);
  last = event.seq;
  if (event.type !== "text") continue;
  bytes += event.text.length;
  if (bytes >= next) {
    globalThis.gc();
    const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
    seen.push({ bytes, rss, held: heapUsed + external + arrayBuffers });
    next += 10_000_000;
  }
}
console.log(JSON.stringify({ bytes, events: last, seen }));
