/** The typed events of a stream, and what they add up to. */

import type { Connection } from "./connection.js";
import { ProtocolError, StreamFailedError } from "./errors.js";
import type { Source } from "./follower.js";
import type { Entry, Image, Start, Usage } from "./schema.js";
import type { ServerSentEvent } from "./sse.js";

/** An event of the log: `type` says which. */
export type LogEvent = Entry["event"];

/** An event and its place: `seq` counts from 1, `ms` are milliseconds since the stream began. */
export type StreamEvent = LogEvent & { seq: number; ms: number };

/** Why an answer ended. */
export type FinishReason = Extract<LogEvent, { type: "done" }>["reason"];

// The compiler holds this against the schema: a new type of event has to be named here.
const KNOWN: Record<LogEvent["type"], true> = {
  start: true,
  progress: true,
  text: true,
  reasoning: true,
  tool_call: true,
  image: true,
  finish: true,
  usage: true,
  failed: true,
  done: true,
};

/** `GET /v1/streams/{id}`: every event once and in order. Types that are not known are skipped. */
export class TypedSource implements Source<StreamEvent> {
  readonly resumable = true;
  readonly strict = true;
  finished = false;
  #asked = -1;

  constructor(
    private readonly connection: Connection,
    readonly id: string,
    /** The seq of the last event that was taken. */
    public after: number,
    private readonly speed = 0,
  ) {}

  open(signal: AbortSignal): Promise<Response> {
    const speed = this.speed > 0 ? `&speed=${this.speed}` : "";
    // Where the last connection brought nothing, the reader may be at the end already, and the rest
    // of an ended stream is empty: the event before the cursor tells.
    const after = this.after === this.#asked ? Math.max(this.after - 1, 0) : this.after;
    this.#asked = this.after;
    const path = `/v1/streams/${encodeURIComponent(this.id)}?after=${after}${speed}`;
    return this.connection.ask({ path, headers: { Accept: "text/event-stream" }, signal });
  }

  take(events: ServerSentEvent[], into: StreamEvent[]): void {
    for (const { data, id } of events) {
      const { seq, ms, event } = parsed(data);
      if (id !== undefined && id !== String(seq)) {
        throw new ProtocolError(`event ${seq} came under the id ${id}`);
      }
      if (seq <= this.after) {
        this.finished = seq === this.after && isLast(event);
        continue;
      }
      if (seq !== this.after + 1) {
        throw new ProtocolError(`event ${seq} came after event ${this.after}`);
      }
      this.after = seq;
      if (KNOWN[event.type] !== true) continue;
      const placed = event as StreamEvent;
      placed.seq = seq;
      placed.ms = ms;
      this.finished = isLast(event);
      into.push(placed);
      if (this.finished) return;
    }
  }
}

function isLast(event: LogEvent): boolean {
  return event.type === "done" || event.type === "failed";
}

function parsed(data: string): Entry {
  let entry: Entry | null;
  try {
    entry = JSON.parse(data) as Entry | null;
  } catch (error) {
    throw new ProtocolError("an event is no JSON", { cause: error });
  }
  if (!Number.isSafeInteger(entry?.seq) || typeof entry?.event?.type !== "string") {
    throw new ProtocolError("an event has no seq or no type");
  }
  return entry;
}

/** A tool call, whole. `arguments` is the JSON text that the model wrote. */
export interface ToolCall {
  id: string;
  name: string;
  arguments: string;
}

/** What a stream came to. Of several choices, the first one's. */
export interface Result {
  id: string;
  text: string;
  reasoning: string;
  toolCalls: ToolCall[];
  images: Image[];
  usage: Usage | undefined;
  reason: FinishReason;
  start: Start | undefined;
}

/** Adds up events. */
export class Folder {
  text = "";
  reasoning = "";
  readonly images: Image[] = [];
  usage: Usage | undefined;
  start: Start | undefined;
  reason: FinishReason | undefined;
  failed: StreamFailedError | undefined;
  readonly #calls = new Map<number, ToolCall>();

  feed(event: StreamEvent): void {
    if ("choice" in event && event.choice !== 0) return;
    switch (event.type) {
      case "text":
        this.text += event.text;
        break;
      case "reasoning":
        this.reasoning += event.text;
        break;
      case "tool_call": {
        const call = this.#calls.get(event.part) ?? { id: event.call, name: "", arguments: "" };
        call.name ||= event.name ?? "";
        call.arguments += event.arguments ?? "";
        this.#calls.set(event.part, call);
        break;
      }
      case "image":
        this.images.push(event);
        break;
      case "usage":
        this.usage = event;
        break;
      case "start":
        this.start = event;
        break;
      case "failed":
        this.failed = new StreamFailedError(event, this.text);
        break;
      case "done":
        this.reason = event.reason;
        break;
      default:
    }
  }

  get toolCalls(): ToolCall[] {
    return [...this.#calls.values()];
  }

  /** Raises `StreamFailedError`, or `ProtocolError` before the end. */
  result(id: string): Result {
    if (this.failed) throw this.failed;
    if (this.reason === undefined) throw new ProtocolError("the stream has not ended");
    const { text, reasoning, images, usage, reason, start, toolCalls } = this;
    return { id, text, reasoning, toolCalls, images, usage, reason, start };
  }
}
