// Begins a stream, says its id, reads it to its end over whatever happens; PENSTOCK_URL says where.
import { Penstock } from "../../dist/index.js";

const stream = new Penstock().stream({ model: "slow", messages: [{ role: "user", content: "?" }] });
let text = "";
let last;
for await (const event of stream) {
  if (event.seq !== (last?.seq ?? 0) + 1) throw new Error(`event ${event.seq} after ${last?.seq}`);
  last = event;
  if (event.type === "text") text += event.text;
  if (event.seq === 20) console.log(stream.id);
}
console.log(JSON.stringify({ text, last }));
