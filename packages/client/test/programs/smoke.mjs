// The published package, by its name, on whatever Node runs this: PENSTOCK_URL says where.
import { strict as assert } from "node:assert";
import { Penstock, createLlmAPI, llmAPI } from "@penstock/client";

const asked = { model: "demo", messages: [{ role: "user", content: "Hello!" }], max_tokens: 8 };
const result = await new Penstock().generate(asked);
assert.equal(result.start.model, "penstock-demo");
assert.notEqual(result.text, "");
let text = "";
for await (const event of new Penstock().resume(result.id)) if (event.type === "text") text += event.text;
assert.equal(text, result.text);
let heard = "";
let completed = 0;
await llmAPI.chatStream(asked, (chunk) => (heard += chunk), () => completed++, assert.fail);
assert.equal(completed, 1);
assert.notEqual(heard, "");
const { data } = await createLlmAPI({ url: process.env.PENSTOCK_URL }).healthCheck();
assert.equal(data.status, "ok");
console.log(JSON.stringify({ node: process.versions.node, text }));
