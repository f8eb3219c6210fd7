// What can go wrong, and what to do about it. A lost connection is not among it.
// node error_handling.ts
import { ConnectionLostError, HttpError, Penstock, StreamFailedError } from "@penstock/client";

async function ask(penstock: Penstock, model: string | null): Promise<void> {
  try {
    const { text } = await penstock.generate({
      model,
      messages: [{ role: "user", content: "Hello!" }],
      max_tokens: 20,
    });
    console.log("answered:", text);
  } catch (error) {
    if (error instanceof StreamFailedError) {
      console.log(`broke (${error.code}); so far: ${error.text} | again? ${error.retryable}`);
    } else if (error instanceof ConnectionLostError) {
      console.log("not there:", error.message, "| again?", error.retryable);
    } else if (error instanceof HttpError && error.status === 404) {
      console.log("no such model:", error.said);
    } else if (error instanceof HttpError) {
      console.log(`[${error.status}]`, error.said, "| wait:", error.retryAfter ?? "as you like");
    } else {
      throw error;
    }
  }
}

await ask(new Penstock(), null);
await ask(new Penstock(), "no/such-model");
await ask(new Penstock({ url: "http://127.0.0.1:9", patience: 1000 }), null);
