// A whole answer in one line, and a conversation with its history.  node simple_client.ts
import { Penstock } from "@penstock/client";

const penstock = new Penstock();
console.log((await penstock.generate("Hello!")).text);

const { text, usage } = await penstock.generate({
  messages: [
    { role: "system", content: "You answer in one sentence." },
    { role: "user", content: "What is a stream?" },
  ],
  temperature: 0,
  max_tokens: 60,
});
console.log(text);
if (usage) console.log(`${usage.input_tokens} tokens in, ${usage.output_tokens} out`);
