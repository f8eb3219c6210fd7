// The `ai` package with `@ai-sdk/openai-compatible`, and `openai`, on a live Penstock.
// Prints one JSON object: case -> what it found. `tests/outside/test_node.py` judges it.
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { embed, generateText, Output, stepCountIs, streamText, tool } from "ai";
import OpenAI from "openai";
import { z } from "zod";

const url = process.env.PENSTOCK_URL + "/v1";
const penstock = createOpenAICompatible({
  name: "penstock", baseURL: url, includeUsage: true, supportsStructuredOutputs: true,
});
const demo = penstock("demo");
const scripted = penstock("scripted");
const quiet = { maxRetries: 0, temperature: 0 };
const magic = (execute) => ({
  magic_function: tool({
    description: "A magic function.", inputSchema: z.object({ input: z.number() }), execute,
  }),
});

async function parts(result) {
  const found = [];
  for await (const part of result.fullStream) found.push(part);
  return found;
}
const textOf = (found) => found.filter((p) => p.type === "text-delta").map((p) => p.text).join("");

const cases = {
  async generate_text() {
    const r = await generateText({ model: demo, prompt: "Hello!", maxOutputTokens: 20, ...quiet });
    return { text: r.text, finish: r.finishReason, usage: r.usage };
  },
  async stream_text() {
    const r = streamText({ model: demo, prompt: "Hello!", maxOutputTokens: 20, ...quiet });
    const found = await parts(r);
    return {
      text: textOf(found), whole: await r.text, finish: await r.finishReason,
      usage: await r.usage, deltas: found.filter((p) => p.type === "text-delta").length,
    };
  },
  async same_text_streamed_and_whole() {
    const asked = { model: scripted, prompt: "Hello!", ...quiet };
    return { whole: (await generateText(asked)).text, streamed: textOf(await parts(streamText(asked))) };
  },
  async stop_sequence() {
    const r = await generateText({ model: scripted, prompt: "Hi", stopSequences: [" are"], ...quiet });
    return { text: r.text };
  },
  async reasoning() {
    const asked = {
      model: demo, prompt: "What is a token?", ...quiet,
      providerOptions: { penstock: { reasoningEffort: "low" } },
    };
    const r = await generateText(asked);
    const found = await parts(streamText(asked));
    const streamed = found.filter((p) => p.type === "reasoning-delta").map((p) => p.text).join("");
    return { whole: r.reasoningText, text: r.text, streamed, streamedText: textOf(found) };
  },
  async tool_call() {
    const asked = { model: scripted, prompt: "magic_function(3)?", tools: magic(undefined), ...quiet };
    const r = await generateText(asked);
    const found = await parts(streamText(asked));
    return {
      whole: r.toolCalls.map(({ toolName, input }) => ({ toolName, input })), finish: r.finishReason,
      streamed: found.filter((p) => p.type === "tool-call").map(({ toolName, input }) => ({ toolName, input })),
      pieces: found.filter((p) => p.type === "tool-input-delta").map((p) => p.delta).join(""),
    };
  },
  async tool_loop() {
    const asked = {
      model: scripted, prompt: "magic_function(3)?", stopWhen: stepCountIs(3), ...quiet,
      tools: magic(async ({ input }) => input + 2),
    };
    const r = await generateText(asked);
    const s = streamText(asked);
    await s.consumeStream();
    return {
      steps: r.steps.length, text: r.text, results: r.steps[0].toolResults.map((t) => t.output),
      streamedSteps: (await s.steps).length, streamedText: await s.text,
    };
  },
  async tool_of_the_demo_model() {
    const weather = tool({
      description: "Get the current weather in a city.", inputSchema: z.object({ city: z.string() }),
      execute: async () => ({ temperature: 18, condition: "sunny" }),
    });
    const r = await generateText({
      model: demo, prompt: "What is the weather in Paris?", tools: { get_weather: weather },
      stopWhen: stepCountIs(2), ...quiet,
    });
    return { calls: r.steps[0].toolCalls.map((c) => c.toolName), steps: r.steps.length, text: r.text };
  },
  async object() {
    const schema = z.object({ name: z.enum(["Ann", "Bob"]), old: z.boolean() });
    const asked = { model: demo, prompt: "A person.", output: Output.object({ schema }), ...quiet };
    const r = await generateText(asked);
    const s = streamText(asked);
    await s.consumeStream();
    return { whole: r.output, streamed: await s.output };
  },
  async embedding() {
    const model = penstock.embeddingModel("demo");
    const r = await embed({ model, value: "a token", maxRetries: 0 });
    return { length: r.embedding.length, tokens: r.usage.tokens };
  },
  async abort() {
    const controller = new AbortController();
    const r = streamText({
      model: penstock("endless"), prompt: "Go on", abortSignal: controller.signal, ...quiet,
    });
    let seen = 0, aborted = false;
    for await (const part of r.fullStream) {
      if (part.type === "text-delta" && ++seen === 3) controller.abort();
      if (part.type === "abort") aborted = true;
    }
    return { seen, aborted };
  },
  async error_before() {
    try {
      await generateText({ model: penstock("no-such-model"), prompt: "Hi", ...quiet });
    } catch (error) {
      return { name: error.name, status: error.statusCode, message: error.message };
    }
  },
  async error_in_the_middle() {
    const r = streamText({ model: penstock("broken"), prompt: "Hi", onError() {}, ...quiet });
    let text = "", errors = 0;
    try {
      for await (const part of r.fullStream) {
        if (part.type === "text-delta") text += part.text;
        if (part.type === "error") errors += 1;
      }
    } catch {
      errors += 1;
    }
    return { text, noticed: errors > 0 };
  },
  async openai_stream() {
    const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
    const stream = client.chat.completions.stream({
      model: "demo", messages: [{ role: "user", content: "Hello!" }], temperature: 0, max_tokens: 20,
      stream_options: { include_usage: true },
    });
    const final = await stream.finalChatCompletion();
    return { text: final.choices[0].message.content, usage: final.usage };
  },
  async openai_runs_tools() {
    const client = new OpenAI({ baseURL: url, apiKey: "none", maxRetries: 0 });
    const called = [];
    const runner = client.chat.completions.runTools({
      model: "scripted", stream: true, messages: [{ role: "user", content: "magic_function(3)?" }],
      tools: [{ type: "function", function: {
        name: "magic_function", description: "A magic function.", parse: JSON.parse,
        parameters: { type: "object", properties: { input: { type: "integer" } } },
        function: ({ input }) => { called.push(input); return String(input + 2); },
      } }],
    });
    return { text: await runner.finalContent(), called };
  },
};

const found = {};
for (const [name, run] of Object.entries(cases)) {
  try {
    found[name] = await run();
  } catch (error) {
    found[name] = { threw: `${error.name}: ${error.message}` };
  }
}
console.log(JSON.stringify(found));
