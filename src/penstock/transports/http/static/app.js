// The page at `/`: a chat that survives a lost connection, and what this gateway offers.

const $ = (id) => document.getElementById(id);
const turns = [];
let key = sessionStorage.getItem("penstock-key") || "";
let running = null; // { controller, stream }

function headers(more = {}) {
  return key ? { authorization: `Bearer ${key}`, ...more } : more;
}

async function ask(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(options.headers) });
  if (response.status === 401 || response.status === 403) needKey();
  if (!response.ok) throw new Error(await problem(response));
  return response;
}

async function problem(response) {
  try {
    const body = await response.json();
    return body.error?.message || body.detail || response.statusText;
  } catch {
    return `${response.status} ${response.statusText}`;
  }
}

function needKey() {
  $("key-form").hidden = false;
}

// ── reading server-sent events ──────────────────────────────────────────────────────────────────

async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const data = block.split("\n").filter((line) => line.startsWith("data: "));
      if (data.length) yield data.map((line) => line.slice(6)).join("\n");
    }
  }
}

// ── one reply ───────────────────────────────────────────────────────────────────────────────────

class Reply {
  constructor(item) {
    this.item = item;
    this.text = "";
    this.thought = "";
    this.ended = false;
    this.failed = "";
  }
  show() {
    this.item.replaceChildren();
    if (this.thought) {
      const thinking = document.createElement("span");
      thinking.className = "thinking";
      thinking.textContent = this.thought;
      this.item.append(thinking);
    }
    this.item.append(this.text);
    const list = $("turns");
    list.scrollTop = list.scrollHeight;
  }
  chunk(data) {
    if (data === "[DONE]") {
      this.ended = true;
      return;
    }
    const chunk = JSON.parse(data);
    if (chunk.error) {
      this.failed = chunk.error.message;
      this.ended = true;
      return;
    }
    const delta = chunk.choices?.[0]?.delta || {};
    this.text += delta.content || "";
    this.thought += delta.reasoning_content || "";
    this.show();
  }
  entry({ event }) {
    if (event.type === "text") this.text += event.text;
    else if (event.type === "reasoning") this.thought += event.text;
    else if (event.type === "failed") this.failed = event.message;
    if (event.type === "failed" || event.type === "done") this.ended = true;
    this.show();
  }
}

async function follow(reply, stream, signal) {
  // Whatever was shown is in the stream, too: it is read again from its beginning.
  for (let attempt = 1; !reply.ended && attempt <= 10; attempt++) {
    $("note").textContent = "connection lost, resuming …";
    await new Promise((wake) => setTimeout(wake, 300 * attempt));
    signal.throwIfAborted();
    try {
      const response = await ask(`/v1/streams/${stream}`, { signal });
      reply.text = reply.thought = "";
      for await (const data of events(response)) reply.entry(JSON.parse(data));
    } catch (error) {
      if (signal.aborted) throw error;
    }
  }
  if (!reply.ended) throw new Error("the connection could not be resumed");
}

async function generate(messages, reply, signal) {
  const begun = performance.now();
  const response = await ask("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: $("model").value || "default", messages, stream: true }),
    signal,
  });
  const stream = response.headers.get("penstock-stream");
  running.stream = stream;
  try {
    for await (const data of events(response)) reply.chunk(data);
  } catch (error) {
    if (signal.aborted) throw error;
  }
  if (!reply.ended) await follow(reply, stream, signal);
  if (reply.failed) throw new Error(reply.failed);
  $("note").textContent = `${((performance.now() - begun) / 1000).toFixed(1)} s`;
}

function add(kind, text) {
  const item = document.createElement("li");
  item.className = kind;
  item.textContent = text;
  $("turns").append(item);
  item.scrollIntoView({ block: "end" });
  return item;
}

async function say(prompt) {
  turns.push({ role: "user", content: prompt });
  add("user", prompt);
  const reply = new Reply(add("assistant", "…"));
  running = { controller: new AbortController(), stream: null };
  $("send").disabled = true;
  $("stop").hidden = false;
  $("note").textContent = "";
  try {
    await generate(turns, reply, running.controller.signal);
  } catch (error) {
    $("note").textContent = running.controller.signal.aborted ? "stopped" : "";
    if (!running.controller.signal.aborted) add("error", error.message);
  }
  if (reply.text) turns.push({ role: "assistant", content: reply.text });
  else {
    turns.pop();
    reply.item.remove();
  }
  running = null;
  $("send").disabled = false;
  $("stop").hidden = true;
  $("prompt").focus();
  await streams();
}

async function stop() {
  const { controller, stream } = running;
  controller.abort();
  // A closed connection is only a lost reader: stopping is said.
  if (stream) await ask(`/v1/streams/${stream}/cancel`, { method: "POST" }).catch(() => {});
}

// ── what is there ───────────────────────────────────────────────────────────────────────────────

function fill(list, lines, none) {
  const items = lines.map(([text, small, kind]) => {
    const item = document.createElement("li");
    const name = document.createElement("span");
    name.textContent = text;
    name.className = kind || "";
    const more = document.createElement("small");
    more.textContent = small ? ` ${small}` : "";
    item.append(name, more);
    return item;
  });
  if (!items.length) items.push(Object.assign(document.createElement("li"), { textContent: none }));
  list.replaceChildren(...items);
}

async function state() {
  const health = await (await fetch("/health")).json();
  if (health.api_key_required && !key) needKey();
  const ready = await fetch("/ready");
  const trouble = ready.ok ? "" : (await ready.json()).trouble;
  $("state").textContent = `${health.version} · ${trouble || "ready"}`;
  $("state").className = trouble ? "down" : "up";
  return !health.api_key_required || key;
}

async function models() {
  const found = (await (await ask("/v1/models")).json()).data;
  fill($("models"), found.map((model) => [model.id, model.owned_by || ""]), "no model is up");
  const chosen = $("model").value;
  $("model").replaceChildren(new Option("the default", ""), ...found.map((m) => new Option(m.id, m.id)));
  $("model").value = found.some((model) => model.id === chosen) ? chosen : "";
}

async function streams() {
  const found = (await (await ask("/v1/streams?limit=8")).json()).data;
  fill(
    $("streams"),
    found.map((s) => [s.stream.slice(0, 8), `${s.model || s.binding} · ${s.state} · ${s.events} events`, s.state === "failed" ? "down" : ""]),
    "none yet",
  );
}

function curl() {
  const shown = key ? ` \\\n  -H 'Authorization: Bearer YOUR_KEY'` : "";
  const body = `{"model":"default","stream":true,"messages":[{"role":"user","content":"Hello!"}]}`;
  $("curl").textContent = `curl -N ${location.origin}/v1/chat/completions${shown} \\\n  -H 'Content-Type: application/json' \\\n  -d '${body}'`;
}

async function refresh() {
  curl();
  try {
    if (await state()) await Promise.all([models(), streams()]);
  } catch (error) {
    $("state").textContent = error.message;
    $("state").className = "down";
  }
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const prompt = $("prompt").value.trim();
  if (!prompt || running) return;
  $("prompt").value = "";
  void say(prompt);
});
$("prompt").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    $("ask").requestSubmit();
  }
});
$("stop").addEventListener("click", () => void stop());
$("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  sessionStorage.setItem("penstock-key", key);
  $("key").value = "";
  $("key-form").hidden = true;
  void refresh();
});
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("curl").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
});

void refresh();
setInterval(() => void (document.hidden || running || refresh()), 15000);
