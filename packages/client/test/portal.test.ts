/** `llmAPI` on a live gateway, and on servers that misbehave. */

import { expect, inject, test } from "vitest";
import { ConnectionLostError, HttpError, createLlmAPI, llmAPI } from "../src/index.js";

const url = inject("url");
const long = inject("long");
const api = createLlmAPI({ url });
const ASKED = [{ role: "user" as const, content: "?" }];
let sessions = 0;
const session = (): string => `typescript-${Date.now()}-${"document" in globalThis}-${sessions++}/é`;

interface Told {
  chunks: string[];
  completed: number;
  errors: Error[];
}

function listener(): Told & { callbacks: [(chunk: string) => void, () => void, (error: Error) => void] } {
  const told: Told = { chunks: [], completed: 0, errors: [] };
  return Object.assign(told, {
    callbacks: [
      (chunk: string) => void told.chunks.push(chunk),
      () => void told.completed++,
      (error: Error) => void told.errors.push(error),
    ] as [(chunk: string) => void, () => void, (error: Error) => void],
  });
}

/** An API whose server answers with these bytes, whatever is asked. */
function answering(...pieces: (string | Error)[]): ReturnType<typeof createLlmAPI> {
  const fetch = (): Promise<Response> => {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (const piece of pieces) {
          if (typeof piece === "string") controller.enqueue(new TextEncoder().encode(piece));
          else controller.error(piece);
        }
        controller.close();
      },
    });
    return Promise.resolve(new Response(body, { headers: { "content-type": "text/event-stream" } }));
  };
  return createLlmAPI({ url, fetch });
}

test("it has every function of the portal's own", () => {
  const names = ["chat", "chatSession", "chatStream", "chatSessionStream", "getSessionHistory"];
  names.push("getSessionHistoryPost", "clearSession", "healthCheck", "sessionChat", "health");
  names.push("mazeAgent", "getMazeMemoryStats", "clearMazeMemory");
  for (const name of names) expect(llmAPI).toHaveProperty(name, expect.any(Function));
});

test("a chat's answer is where axios has it", async () => {
  const answer = await api.chat({ model: "long", messages: ASKED });
  expect(answer.status).toBe(200);
  expect(answer.data).toMatchObject({ response: long.text, session_id: null });
});

test("a chat streams: each piece, then the end, and the text", async () => {
  const told = listener();
  const text = await api.chatStream({ model: "long", messages: ASKED }, ...told.callbacks);
  expect(told.chunks.length).toBeGreaterThan(10);
  expect(told).toMatchObject({ completed: 1, errors: [] });
  expect(told.chunks.join("")).toBe(text);
  expect(text).toBe(long.text);
});

test("tool calls come whole", async () => {
  const calls: unknown[] = [];
  const onToolCalls = (found: unknown[]): void => void calls.push(...found);
  const { callbacks } = listener();
  await api.chatStream({ model: "long", messages: ASKED }, ...callbacks, undefined, { onToolCalls });
  expect(calls).toEqual([{ id: "c1", name: "look", arguments: { at: "log" } }]);
});

test("a session is kept, read and cleared", async () => {
  const id = session();
  const told = listener();
  const asked = { session_id: id, message: "Hello!", model: "demo", max_tokens: 8, system_prompt: "Be." };
  const text = await api.chatSessionStream(asked, ...told.callbacks);
  expect(told).toMatchObject({ completed: 1, errors: [] });
  const again = await api.chatSession({ session_id: id, message: "And?", max_tokens: 8 });
  expect(again.data.session_id).toBe(id);
  const { data } = await api.getSessionHistory(id);
  expect(data.messages).toEqual([
    { role: "system", content: "Be." },
    { role: "user", content: "Hello!" },
    { role: "assistant", content: text },
    { role: "user", content: "And?" },
    { role: "assistant", content: again.data.response },
  ]);
  expect((await api.getSessionHistoryPost(id)).data).toEqual(data);
  expect((await api.clearSession(id)).data).toMatchObject({ ok: true });
  await expect(api.getSessionHistory(id)).rejects.toMatchObject({ status: 404 });
  await expect(api.getSessionHistory("..")).rejects.toMatchObject({ status: 404 });
  await expect(api.clearSession("..")).rejects.toThrow("address");
});

test("health", async () => {
  expect((await api.healthCheck()).data.status).toBe("ok");
});

test("an HTTP error reaches onError, once, and the promise resolves", async () => {
  const told = listener();
  const asked = { model: "no-such-model", messages: ASKED };
  expect(await api.chatStream(asked, ...told.callbacks)).toBe("");
  expect(told).toMatchObject({ chunks: [], completed: 0 });
  expect(told.errors).toHaveLength(1);
  expect(told.errors[0]).toBeInstanceOf(HttpError);
  expect(told.errors[0]?.message).toContain("HTTP error! status: 404");
});

test("without onError it rejects", async () => {
  const asked = { model: "no-such-model", messages: ASKED };
  await expect(api.chatStream(asked, () => undefined)).rejects.toMatchObject({ status: 404 });
  await expect(api.chat(asked)).rejects.toMatchObject({ response: { status: 404 } });
});

test("a broken generation reaches onError with what was said before", async () => {
  const told = listener();
  const text = await api.chatStream({ model: "broken", messages: ASKED }, ...told.callbacks);
  expect(told.completed).toBe(0);
  expect(told.errors).toHaveLength(1);
  expect(told.errors[0]?.message).toContain("broken off");
  expect(text).toBe(told.chunks.join(""));
  expect(text).not.toBe("");
});

test("nobody there reaches onError", async () => {
  const told = listener();
  await createLlmAPI({ url: "http://127.0.0.1:9" }).chatStream({ messages: ASKED }, ...told.callbacks);
  expect(told.errors).toHaveLength(1);
  expect(told.errors[0]).toBeInstanceOf(ConnectionLostError);
});

test("an abort is no error: the text so far, and the session is free at once", async () => {
  const id = session();
  const told = listener();
  const aborting = new AbortController();
  const [onChunk, ...rest] = told.callbacks;
  const text = await api.chatSessionStream(
    { session_id: id, message: "?", model: "slow" },
    (chunk) => {
      onChunk(chunk);
      if (told.chunks.length === 5) aborting.abort();
    },
    ...rest,
    aborting.signal,
  );
  expect(told).toMatchObject({ completed: 0, errors: [] });
  expect(text).toBe(told.chunks.join(""));
  expect(told.chunks).toHaveLength(5);
  for (let n = 0; ; n++) {
    const next = await api.chatSession({ session_id: id, message: "?", model: "demo", max_tokens: 1 }).then(
      () => true,
      (error: HttpError) => (expect(error.status).toBe(409), false),
    );
    if (next) break;
    expect(n).toBeLessThan(50); // Left to linger, it would be busy for seconds.
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
});

test("an abort before the answer is none either", async () => {
  const told = listener();
  const aborting = new AbortController();
  const asking = api.chatStream({ model: "slow", messages: ASKED }, ...told.callbacks, aborting.signal);
  aborting.abort();
  expect(await asking).toBe("");
  expect(told).toMatchObject({ chunks: [], completed: 0, errors: [] });
});

test.each([true, false])("what its server doesn't know is sent only to resume: %s", async (resume) => {
  const sent: Headers[] = [];
  const fetch: typeof globalThis.fetch = (input, init) => {
    sent.push(new Headers(init?.headers));
    return globalThis.fetch(input, init);
  };
  const told = listener();
  const other = createLlmAPI({ url, fetch, resume });
  expect(await other.chatStream({ model: "long", messages: ASKED }, ...told.callbacks)).toBe(long.text);
  expect(told).toMatchObject({ completed: 1, errors: [] });
  expect(sent.map((one) => one.has("last-event-id"))).toEqual([resume]);
  expect(sent.map((one) => one.has("penstock-on-disconnect"))).toEqual([resume]);
});

test("an abort before anything asks for nothing", async () => {
  const told = listener();
  let asked = 0;
  const fetch = (): Promise<Response> => Promise.reject(new Error(`asked ${asked++}`));
  const asking = createLlmAPI({ url, fetch }).chatStream(
    { messages: ASKED },
    ...told.callbacks,
    AbortSignal.abort(),
  );
  expect(await asking).toBe("");
  expect(told).toMatchObject({ chunks: [], completed: 0, errors: [] });
  expect(asked).toBe(0);
});

test("roles may be plain text, as the portal's pages keep them", async () => {
  const messages: { role: string; content: string }[] = [{ role: "user", content: "?" }];
  expect((await api.chat({ model: "long", messages })).data.response).toBe(long.text);
});

test("what can't be sent is told as what it is", async () => {
  const told = listener();
  const messages = [{ role: "user", content: 1n as unknown as string }];
  expect(await api.chatStream({ messages }, ...told.callbacks)).toBe("");
  expect(told.errors.map(String)).toEqual([expect.stringContaining("the request is no JSON")]);
});

test("a time that is up is an error", async () => {
  const told = listener();
  const asked = { model: "slow", messages: ASKED };
  const text = await api.chatStream(asked, ...told.callbacks, AbortSignal.timeout(300));
  expect(told.completed).toBe(0);
  expect(told.errors.map(({ name }) => name)).toEqual(["TimeoutError"]);
  expect(text).toBe(told.chunks.join(""));
});

test("what onChunk throws is told to onError, once", async () => {
  const told = listener();
  const [, ...rest] = told.callbacks;
  const thrown = new Error("mine");
  await api.chatStream(
    { model: "slow", messages: ASKED },
    () => {
      throw thrown;
    },
    ...rest,
  );
  expect(told).toMatchObject({ completed: 0, errors: [thrown] });
});

test("what onComplete throws is no error of the stream", async () => {
  const told = listener();
  const [onChunk, , onError] = told.callbacks;
  const complete = (): void => {
    throw new Error("mine");
  };
  const asking = api.chatStream({ model: "long", messages: ASKED }, onChunk, complete, onError);
  await expect(asking).rejects.toThrow("mine");
  expect(told.errors).toEqual([]);
});

// The original's own server, and worse ones: no ids, no header.
test("an event in two reads, comments, no space, CR LF", async () => {
  const told = listener();
  const other = answering('data: {"cont', 'ent": "a"}\n\n: ping\n\n', 'data:{"content":"b"}\r\n\r\ndata: {"done": true}\n\n');
  expect(await other.chatStream({ messages: ASKED }, ...told.callbacks)).toBe("ab");
  expect(told).toMatchObject({ chunks: ["a", "b"], completed: 1, errors: [] });
});

test.each([
  ["an error and then done", ['data: {"error": "no"}\n\ndata: {"done": true}\n\n'], "no"],
  ["no JSON", ['data: {"content": "a"}\n\ndata: {oops\n\ndata: {"done": true}\n\n'], "JSON"],
  ["no end", ['data: {"content": "a"}\n\n'], "before the stream's end"],
  ["nothing at all", [], "before the stream's end"],
  ["a connection that breaks", ['data: {"content": "a"}\n\n', new TypeError("terminated")], "lost"],
])("%s: one error and nothing more", async (_, pieces, message) => {
  const told = listener();
  await answering(...pieces).chatStream({ messages: ASKED }, ...told.callbacks);
  expect(told.completed).toBe(0);
  expect(told.errors.map((error) => error.message)).toEqual([expect.stringContaining(message)]);
});

test("[DONE] of a server that means well is the end", async () => {
  const told = listener();
  await answering('data: {"content": "a"}\n\ndata: [DONE]\n\n').chatStream({ messages: ASKED }, ...told.callbacks);
  expect(told).toMatchObject({ chunks: ["a"], completed: 1, errors: [] });
});
