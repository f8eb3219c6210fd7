/** Reads the streams of a Penstock. Importing this starts nothing and reads nothing. */

export type { ConnectionOptions } from "./connection.js";
export {
  ConnectionLostError,
  type ErrorResponse,
  HttpError,
  PenstockError,
  ProtocolError,
  StreamFailedError,
} from "./errors.js";
export { Folder, type FinishReason, type Result, type StreamEvent, type ToolCall } from "./events.js";
export { type BeginOptions, Penstock, type Question, type ResumeOptions } from "./penstock.js";
export {
  type Answer,
  type ChatQuestion,
  createLlmAPI,
  llmAPI,
  type LlmAPI,
  type LlmApiOptions,
  type MoreCallbacks,
  type OnChunk,
  type OnComplete,
  type OnError,
  type PlainMessage,
} from "./portal.js";
export type * as schema from "./schema.js";
export { type DecoderOptions, readEvents, type ServerSentEvent, SseDecoder } from "./sse.js";
export { Stream } from "./stream.js";
