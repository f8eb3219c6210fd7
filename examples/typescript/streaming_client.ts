// An answer as it comes, then what it took.  node streaming_client.ts "A question"
import { Penstock } from "@penstock/client";

const penstock = new Penstock(); // PENSTOCK_URL says where
const question = process.argv[2] ?? "Tell me a story about a gateway.";

const stream = penstock.stream({
  messages: [{ role: "user", content: question }],
  max_tokens: 200,
});
for await (const event of stream) {
  if (event.type === "text") process.stdout.write(event.text);
  else if (event.type === "usage") console.log(`\n(${event.output_tokens} tokens)`);
  else if (event.type === "done") console.log(`(${event.reason} after ${event.ms} ms)`);
  else if (event.type === "failed") console.error(`\n${event.message}`);
}
