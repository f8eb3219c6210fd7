// A handler of one's own for each kind of event.  node custom_handler.ts
import { Penstock, type StreamEvent } from "@penstock/client";

type Handlers = { [T in StreamEvent["type"]]?: (event: Extract<StreamEvent, { type: T }>) => void };

const said: string[] = [];
const thought: string[] = [];
const handlers: Handlers = {
  text: ({ text }) => said.push(text),
  reasoning: ({ text }) => thought.push(text),
  tool_call: ({ name }) => name && console.log("calls", name),
  usage: ({ output_tokens }) => console.log(output_tokens, "tokens"),
  done: ({ reason }) => console.log("done:", reason),
  failed: ({ message }) => console.log("failed:", message),
};

const penstock = new Penstock();
const stream = penstock.stream({
  messages: [{ role: "user", content: "Hello!" }],
  max_tokens: 40,
});
for await (const event of stream) {
  const handle = handlers[event.type] as ((event: StreamEvent) => void) | undefined;
  handle?.(event);
}
console.log(said.join(""));
