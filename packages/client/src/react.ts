/** For React: a stream as state. */

import { useEffect, useState, useSyncExternalStore } from "react";
import { Folder, type StreamEvent, type ToolCall } from "./events.js";
import type { BeginOptions, Penstock, Question, ResumeOptions } from "./penstock.js";
import type { Image, Usage } from "./schema.js";
import type { Stream } from "./stream.js";

/** What there is of a stream. */
export interface StreamState {
  /**
   * `waiting`: asked, and no text, reasoning, call or picture yet; `streaming`: it comes; `done`;
   * `cancelled`: stopped; `failed`: see `error`.
   */
  status: "idle" | "waiting" | "streaming" | "done" | "cancelled" | "failed";
  text: string;
  reasoning: string;
  toolCalls: ToolCall[];
  images: Image[];
  usage: Usage | undefined;
  error: Error | undefined;
  /** The stream's id: keep it, and `resume` it after a reload of the page. */
  id: string | undefined;
  /** The seq of the last event. */
  seq: number;
}

/** The state, and what changes it. The functions stay the same for the life of the component. */
export interface UseStream extends StreamState {
  /** Begins a generation; one that is under way is stopped. */
  send(question: Question, options?: Omit<BeginOptions, "signal">): void;
  /** Reads a stream that is there, from its beginning or behind `after`. */
  resume(id: string, options?: Omit<ResumeOptions, "signal">): void;
  /** Stops the run; the state becomes `cancelled` when the server has said so. */
  stop(): void;
}

const NOTHING: StreamState = {
  status: "idle",
  text: "",
  reasoning: "",
  toolCalls: [],
  images: [],
  usage: undefined,
  error: undefined,
  id: undefined,
  seq: 0,
};

/**
 * A stream as state. The component is drawn at most once a frame, however fast events come.
 * Unmounting closes the connection, so the server's policy for lost readers applies.
 * `onEvent` is told each event at once.
 */
export function useStream(penstock: Penstock, onEvent?: (event: StreamEvent) => void): UseStream {
  const [store] = useState(() => new Store(penstock));
  useEffect(() => {
    store.penstock = penstock;
    store.onEvent = onEvent;
  });
  useEffect(() => () => store.leave(), [store]);
  const state = useSyncExternalStore(store.subscribe, store.get, store.get);
  return { ...state, send: store.send, resume: store.resume, stop: store.stop };
}

class Store {
  onEvent: ((event: StreamEvent) => void) | undefined;
  #state = NOTHING;
  #stream: Stream | undefined;
  #listeners = new Set<() => void>();
  #drawing = false;
  #draw = (): void => undefined;

  constructor(public penstock: Penstock) {}

  subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  get = (): StreamState => this.#state;

  send = (question: Question, options?: Omit<BeginOptions, "signal">): void => {
    this.stop();
    this.#read(this.penstock.stream(question, options));
  };

  resume = (id: string, options?: Omit<ResumeOptions, "signal">): void => {
    this.leave();
    this.#read(this.penstock.resume(id, options));
  };

  stop = (): void => {
    if (this.#state.status !== "waiting" && this.#state.status !== "streaming") return;
    this.#stream?.cancel().catch(() => undefined); // Best effort: reading tells what became of it.
  };

  leave = (): void => {
    const stream = this.#stream;
    this.#stream = undefined;
    stream?.close();
  };

  #read(stream: Stream): void {
    const before = this.#stream;
    this.#stream = stream;
    before?.close();
    this.#set({ ...NOTHING, status: "waiting" });
    void this.#follow(stream);
  }

  async #follow(stream: Stream): Promise<void> {
    const folder = new Folder();
    let status = this.#state.status;
    let error: Error | undefined;
    this.#draw = () => this.#set(state(folder, stream, status, error ?? folder.failed));
    try {
      for await (const event of stream) {
        if (this.#stream !== stream) return;
        folder.feed(event);
        status = after(status, event);
        this.onEvent?.(event);
        this.#soon();
      }
    } catch (caught) {
      if (this.#stream !== stream) return;
      status = "failed";
      error = caught instanceof Error ? caught : new Error(String(caught));
      this.#draw();
    }
  }

  #set(state: StreamState): void {
    this.#state = state;
    for (const listener of this.#listeners) listener();
  }

  #soon(): void {
    if (this.#drawing) return;
    this.#drawing = true;
    // Whatever there is by then, also of a stream that is read instead.
    const draw = (): void => {
      this.#drawing = false;
      if (this.#stream) this.#draw();
    };
    // A page in the background has no frames; a timer still runs there.
    if (globalThis.document?.visibilityState === "visible") requestAnimationFrame(draw);
    else setTimeout(draw, 16);
  }
}

function after(before: StreamState["status"], event: StreamEvent): StreamState["status"] {
  switch (event.type) {
    case "done":
      return event.reason === "cancelled" ? "cancelled" : "done";
    case "failed":
      return "failed";
    case "text":
    case "reasoning":
    case "tool_call":
    case "image":
      return "streaming";
    default:
      return before;
  }
}

/** Of its own: what React was given is never changed. */
function state(
  folder: Folder,
  stream: Stream,
  status: StreamState["status"],
  error: Error | undefined,
): StreamState {
  const { text, reasoning, usage } = folder;
  const toolCalls = folder.toolCalls.map((call) => ({ ...call }));
  const images = [...folder.images];
  const { id, seq } = stream;
  return { status, text, reasoning, toolCalls, images, usage, error, id, seq };
}
