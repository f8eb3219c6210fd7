// Reads half of a stream, goes away, and comes back for the rest.  node resume.ts
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
const first = penstock.stream("Tell me a story about a gateway.");

let text = "";
for await (const event of first) {
  if (event.type === "text") text += event.text;
  if (event.seq === 8) break; // The tab is closed, the train enters a tunnel …
}
console.log(`${text}…`);

// … and elsewhere, later: all that it takes is the stream's id and the last seq.
const rest = penstock.resume(await first.started, { after: first.seq });
for await (const piece of rest.text()) text += piece;
console.log(text);
