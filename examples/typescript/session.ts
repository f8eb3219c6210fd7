// Two questions in a session that the server keeps.  node session.ts
import { createLlmAPI } from "@penstock/client";

const llmAPI = createLlmAPI();
const session = `example-${Date.now()}`;

for (const message of ["Hello!", "And who are you?"]) {
  console.log(`> ${message}`);
  await llmAPI.chatSessionStream(
    { session_id: session, message },
    (chunk) => process.stdout.write(chunk), // onChunk
    () => console.log(), // onComplete
    (error) => console.error(error.message), // onError
  );
}

const { data } = await llmAPI.getSessionHistory(session);
console.log(data.messages.map(({ role }) => role).join(", "));
await llmAPI.clearSession(session);
