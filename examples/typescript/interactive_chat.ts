// A chat in the terminal. The server keeps the conversation: come back with the same name.
// node interactive_chat.ts [NAME]; an empty line ends it.
import { createInterface } from "node:readline";
import { createLlmAPI, HttpError } from "@penstock/client";

const llmAPI = createLlmAPI();
const session = process.argv[2] ?? "example";
const prompt = () => process.stdout.write("You: ");

prompt();
for await (const line of createInterface({ input: process.stdin })) {
  const message = line.trim();
  if (!message) break;
  await llmAPI.chatSessionStream(
    { session_id: session, message, max_tokens: 100 },
    (chunk) => process.stdout.write(chunk), // onChunk
    () => console.log(), // onComplete
    (error) => console.error(`\n${error.message}`), // onError
  );
  prompt();
}
try {
  const { data } = await llmAPI.getSessionHistory(session);
  console.log(`${data.messages.length} messages so far`);
} catch (error) {
  if (!(error instanceof HttpError && error.status === 404)) throw error;
  console.log("nothing was said");
}
