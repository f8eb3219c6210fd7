// Prints an answer as it comes, then how it ended.  node stream.ts "A question"
import { Penstock } from "@penstock/client";

const penstock = new Penstock(); // PENSTOCK_URL says where
const stream = penstock.stream(process.argv[2] ?? "Tell me a story about a gateway.");

for await (const event of stream) {
  if (event.type === "text") process.stdout.write(event.text);
  else if (event.type === "usage") console.log(`\n(${event.output_tokens} tokens)`);
  else if (event.type === "done") console.log(`(${event.reason})`);
  else if (event.type === "failed") console.error(`\n${event.message}`);
}
