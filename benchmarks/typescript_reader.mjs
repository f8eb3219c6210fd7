// One reader in a process of its own: `node typescript_reader.mjs PACKAGE READER EVENTS_A_READ`.
//
// The bytes are in memory before the clock starts; the body hands them out as a socket would, so
// that what is measured is the reader and not the network. Prints {chunks, cpu_us, rate}.
import { pathToFileURL } from "node:url";

const [folder, reader, perRead] = process.argv.slice(2);
const CHUNKS = 20_000;
const ROUNDS = 5;
const encoder = new TextEncoder();
const at = (path) => import(pathToFileURL(`${folder}/${path}`).href);

function openaiChunk(n) {
  const delta = n === 0 ? { role: "assistant", content: "word" } : { content: ` word${n % 100}` };
  const choices = [{ index: 0, delta, finish_reason: null }];
  const head = { id: "chatcmpl-0123456789abcdef", object: "chat.completion.chunk", created: 1 };
  return `data: ${JSON.stringify({ ...head, model: "mock", choices })}\n\n`;
}

function typed(n) {
  const event =
    n === 0
      ? { type: "start", stream: "s", asked: "mock", binding: "b", model: "mock", created: 1 }
      : { type: "text", part: 0, text: ` word${n % 100}` };
  return `id: ${n + 1}\ndata: ${JSON.stringify({ seq: n + 1, ms: n, event })}\n\n`;
}

function pieces(one, end) {
  const found = [];
  for (let n = 0; n < CHUNKS; n += Number(perRead)) {
    let text = "";
    for (let m = n; m < Math.min(n + Number(perRead), CHUNKS); m++) text += one(m);
    found.push(encoder.encode(text));
  }
  found.push(encoder.encode(end));
  return found;
}

function response(parts) {
  let next = 0;
  const pull = (controller) => {
    if (next === parts.length) controller.close();
    else controller.enqueue(parts[next++]);
  };
  const body = new ReadableStream({ pull }, { highWaterMark: 0 });
  return new Response(body, { headers: { "content-type": "text/event-stream" } });
}

const DONE = "data: [DONE]\n\n";
const READERS = {
  // The same bytes, to the same objects: server-sent events, parsed.
  "penstock-reader": async () => {
    const { readEvents } = await at("dist/index.js");
    const parts = pieces(openaiChunk, DONE);
    return async () => {
      let chunks = 0;
      for await (const { data } of readEvents(response(parts).body)) {
        if (data === "[DONE]") break;
        chunks += JSON.parse(data).choices[0].delta.content ? 1 : 0;
      }
      return chunks;
    };
  },
  "openai-reader": async () => {
    const { Stream } = await at("node_modules/openai/streaming.mjs");
    const parts = pieces(openaiChunk, DONE);
    return async () => {
      let chunks = 0;
      for await (const chunk of Stream.fromSSEResponse(response(parts), new AbortController())) {
        chunks += chunk.choices[0].delta.content ? 1 : 0;
      }
      return chunks;
    };
  },
  // Each package's own client, with its own way of saying the same.
  "penstock-client": async () => {
    const { Penstock } = await at("dist/index.js");
    const last = { seq: CHUNKS + 1, ms: CHUNKS, event: { type: "done", reason: "stop" } };
    const parts = pieces(typed, `id: ${last.seq}\ndata: ${JSON.stringify(last)}\n\n`);
    const fetch = () => Promise.resolve(response(parts));
    const penstock = new Penstock({ url: "http://127.0.0.1", fetch });
    return async () => {
      let chunks = 1; // The start has no text here, as the first of theirs has none of its own.
      for await (const event of penstock.resume("s")) chunks += event.type === "text" ? 1 : 0;
      return chunks;
    };
  },
  "openai-client": async () => {
    const { default: OpenAI } = await at("node_modules/openai/index.mjs");
    const parts = pieces(openaiChunk, DONE);
    const fetch = () => Promise.resolve(response(parts));
    const client = new OpenAI({ apiKey: "sk-test", baseURL: "http://127.0.0.1/v1", fetch });
    return async () => {
      let chunks = 0;
      const messages = [{ role: "user", content: "?" }];
      const stream = await client.chat.completions.create({ model: "mock", messages, stream: true });
      for await (const chunk of stream) chunks += chunk.choices[0].delta.content ? 1 : 0;
      return chunks;
    };
  },
  // What no reader can be faster than: the platform's streams, and its parser.
  "platform-alone": async () => {
    const parts = pieces(openaiChunk, DONE);
    const texts = Array.from({ length: CHUNKS }, (_, n) => openaiChunk(n).slice(6, -2));
    return async () => {
      let chunks = 0;
      const reader = response(parts).body.getReader();
      const decoder = new TextDecoder();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) break;
        decoder.decode(value, { stream: true });
      }
      for (const text of texts) chunks += JSON.parse(text).choices[0].delta.content ? 1 : 0;
      return chunks;
    };
  },
  "json-alone": async () => {
    const texts = Array.from({ length: CHUNKS }, (_, n) => openaiChunk(n).slice(6, -2));
    return async () => {
      let chunks = 0;
      for (const text of texts) chunks += JSON.parse(text).choices[0].delta.content ? 1 : 0;
      return chunks;
    };
  },
};

const read = await READERS[reader]();
await read();
await read();
const [begun, cpu] = [performance.now(), process.cpuUsage()];
for (let n = 0; n < ROUNDS; n++) {
  const chunks = await read();
  if (chunks !== CHUNKS) throw new Error(`${reader} read ${chunks} of ${CHUNKS}`);
}
const { user, system } = process.cpuUsage(cpu);
const chunks = ROUNDS * CHUNKS;
const seconds = (performance.now() - begun) / 1000;
console.log(JSON.stringify({ cpu_us: (user + system) / chunks, rate: chunks / seconds }));
