// The model calls a function; its arguments arrive piece by piece, its result goes back.
// node tools_while_streaming.ts
import { Folder, Penstock, type schema } from "@penstock/client";

const city = { type: "object", properties: { city: { type: "string" } }, required: ["city"] };
const weather = { name: "get_weather", description: "Get the weather in a city", parameters: city };
const tools = [{ type: "function", function: weather }];
const getWeather = ({ city }: { city: string }) => `Sunny in ${city}, 21 degrees`;

const penstock = new Penstock();
const messages: schema.OpenAiChatMessage[] = [
  { role: "user", content: "What is the weather in Paris?" },
];
const tool_choice = { type: "function", function: { name: "get_weather" } };
const stream = penstock.stream({ messages, tools, tool_choice, temperature: 0 });
const folder = new Folder();
for await (const event of stream) {
  folder.feed(event);
  if (event.type === "tool_call") console.log(event.name ?? "", event.arguments ?? "");
}

const { toolCalls } = folder.result(await stream.started);
const tool_calls = toolCalls.map(({ id, ...call }) => ({ id, function: call }));
messages.push({ role: "assistant", tool_calls });
for (const call of toolCalls) {
  const content = getWeather(JSON.parse(call.arguments));
  messages.push({ role: "tool", tool_call_id: call.id, content });
}
const answer = penstock.stream({ messages, tools, temperature: 0, max_tokens: 60 });
for await (const piece of answer.text()) process.stdout.write(piece);
console.log();
