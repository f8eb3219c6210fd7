// Reads an endless stream of typed events and tells what memory it takes, each ten million bytes.
// Run with --expose-gc; the address is the argument.
import { Penstock } from "../../dist/index.js";

const stream = new Penstock(process.argv[2]).resume("large");
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
