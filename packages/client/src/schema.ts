// Made by `python tools/typescript_types.py ADDRESS` from a gateway's /openapi.json. Not edited.
// A property with `?` may be absent: then its default holds.

/** One event at its place in a stream's log. `seq` counts from 1, `ms` since `Start`. */
export interface Entry {
  seq: number;
  ms: number;
  event: Start | Progress | TextDelta | ReasoningDelta | ToolCallDelta | Image | Finish | Usage | Failed | Done;
}

/** The answer of `GET /v1/streams`, newest first. */
export interface StreamList {
  object: string;
  data: StreamInfo[];
}

/** The answer of `POST /v1/streams/{id}/cancel`; `cancelled` is false when it had ended. */
export interface StreamCancelled {
  id: string;
  object: string;
  cancelled: boolean;
}

/** The answer of `DELETE /v1/streams/{id}`. */
export interface StreamDeleted {
  id: string;
  object: string;
  deleted: boolean;
}

/** The answer of `/health`. */
export interface Healthy {
  status: string;
  version: string;
  api_key_required: boolean;
}

/** The body of `POST /v1/chat/completions`. */
export interface OpenAiChatBody {
  model?: string | null;
  stream?: boolean | null;
  stream_options?: OpenAiStreamOptions | null;
  max_tokens?: number | null;
  temperature?: number | null;
  top_p?: number | null;
  stop?: string | string[] | null;
  seed?: number | null;
  presence_penalty?: number | null;
  frequency_penalty?: number | null;
  logit_bias?: { [name: string]: number } | null;
  n?: number | null;
  top_k?: number | null;
  min_p?: number | null;
  repeat_penalty?: number | null;
  repetition_penalty?: number | null;
  repeat_last_n?: number | null;
  user?: unknown;
  messages: OpenAiChatMessage[];
  max_completion_tokens?: number | null;
  logprobs?: boolean | null;
  top_logprobs?: number | null;
  tools?: OpenAiTool[] | null;
  tool_choice?: "auto" | "none" | "required" | OpenAiNamedChoice | null;
  parallel_tool_calls?: boolean | null;
  response_format?: OpenAiResponseFormat | null;
  reasoning_effort?: string | null;
  enable_thinking?: boolean | null;
  chat_template_kwargs?: OpenAiTemplateArguments | null;
  extra_body?: OpenAiExtraBody | null;
  store?: unknown;
  metadata?: unknown;
  service_tier?: unknown;
  safety_identifier?: unknown;
  prompt_cache_key?: unknown;
  prompt_cache_options?: unknown;
  prompt_cache_retention?: unknown;
  prediction?: unknown;
  audio?: unknown;
  modalities?: unknown;
  functions?: unknown;
  function_call?: unknown;
  moderation?: unknown;
  verbosity?: unknown;
  web_search_options?: unknown;
}

/** The answer of `GET /v1/models`. */
export interface OpenAiModelList {
  data: OpenAiModel[];
  object: string;
}

/** The body of `/api/llm/chat` and `/api/llm/chat/stream`. */
export interface PortalChatBody {
  enable_thinking?: boolean | null;
  chat_template_kwargs?: PortalTemplateArguments | null;
  extra_body?: PortalExtraBody | null;
  model?: string | null;
  temperature?: number | null;
  top_p?: number | null;
  max_tokens?: number | null;
  tools?: PortalTool[] | null;
  tool_choice?: "auto" | "none" | "required" | PortalNamedChoice | null;
  messages: PortalChatMessage[];
}

/**
 * The body of `/api/llm/chat/session` and `/api/llm/chat/session/stream`.
 *
 * `message` may only be absent where `tool_results` are.
 */
export interface PortalSessionBody {
  enable_thinking?: boolean | null;
  chat_template_kwargs?: PortalTemplateArguments | null;
  extra_body?: PortalExtraBody | null;
  model?: string | null;
  temperature?: number | null;
  top_p?: number | null;
  max_tokens?: number | null;
  tools?: PortalTool[] | null;
  tool_choice?: "auto" | "none" | "required" | PortalNamedChoice | null;
  session_id: string;
  message?: string | null;
  system_prompt?: string | null;
  tool_results?: PortalToolResult[] | null;
}

/** The body of `POST /api/llm/chat/session/history`. */
export interface PortalHistoryBody {
  session_id: string;
}

/** A whole answer. */
export interface PortalReply {
  response: string;
  session_id: string | null;
  tool_calls?: PortalCall[];
}

/** An event with a piece of text. This and the others have `session_id` within a session. */
export interface PortalPiece {
  content: string;
  session_id?: string;
}

/** An event with whole tool calls. */
export interface PortalCalls {
  tool_calls: PortalCall[];
  session_id?: string;
}

/** The last event of a stream that went well. */
export interface PortalEnd {
  done: true;
  session_id?: string;
}

/** The last event of one that did not. */
export interface PortalTrouble {
  error: string;
}

/** The system message comes first. */
export interface PortalHistory {
  session_id: string;
  messages: PortalHistoryMessage[];
}

/** The answer of a deletion. */
export interface PortalCleared {
  ok: boolean;
  message: string;
}

/** The newest first. */
export interface PortalSessions {
  sessions: PortalSessionEntry[];
}

/** The original's keys. No upstream's address is told; `null`: as the model does by default. */
export interface PortalHealth {
  status: string;
  server_url: string | null;
  temperature: number | null;
  max_tokens: number | null;
}

/** The body of every error. */
export interface PortalDetail {
  detail: string | PortalProblem[];
}

/**
 * Always first. Carries every id and clock value that a dialect may need to render.
 *
 * `asked` is the model that the client named, `binding` and `model` are what answers, `engine` is
 * the kind of that binding (empty in logs older than it); `created` is in milliseconds since the
 * epoch.
 */
export interface Start {
  type: "start";
  stream: string;
  asked: string;
  binding: string;
  model: string;
  created: number;
  engine?: string;
}

/**
 * What happens before and between deltas: a place in a queue, a model that loads, a step.
 *
 * `at` of `of`: 1-based place, bytes or steps (of all pictures of a request); 0 when unknown.
 * `fetching` a model: `text` is the line to show, `digest` names the file (`sha256:…`), `at` of
 * `of` are its bytes.
 */
export interface Progress {
  type: "progress";
  what: "fetching" | "loading" | "queued" | "step";
  at?: number;
  of?: number;
  text?: string;
  digest?: string;
  preview?: Blob | null;
}

/** A piece of the answer. Whole characters only. `logprobs` is OpenAI's `content` array. */
export interface TextDelta {
  type: "text";
  part: number;
  text: string;
  choice?: number;
  logprobs?: unknown;
}

/** A piece of the model's thinking. `opaque` must be echoed back unchanged on the next turn. */
export interface ReasoningDelta {
  type: "reasoning";
  part: number;
  text: string;
  choice?: number;
  opaque?: string | null;
}

/**
 * A piece of one tool call. The first of each part carries `call` (its id) and `name`.
 *
 * `arguments` are fragments of one JSON text; joined they are what the model wrote.
 */
export interface ToolCallDelta {
  type: "tool_call";
  part: number;
  call: string;
  name?: string | null;
  arguments?: string;
  choice?: number;
}

/**
 * One finished picture. `width`, `height` in pixels; 0 when unknown.
 *
 * `prompt`: what the engine drew, where it changed the prompt; `seed`: what draws it again.
 * `made_with`: the settings that the engine used (`steps`, `guidance_scale`, `sampler` …).
 */
export interface Image {
  type: "image";
  part: number;
  blob: Blob;
  choice?: number;
  width?: number;
  height?: number;
  prompt?: string | null;
  seed?: number | null;
  made_with?: { [name: string]: string | number | boolean };
}

/** One of several choices ended; the stream goes on. Only in requests with several choices. */
export interface Finish {
  type: "finish";
  choice: number;
  reason: "cancelled" | "filtered" | "length" | "stop" | "tool_calls";
}

/**
 * Counts by the engine's own tokenizer. May come more than once: the last one holds.
 *
 * `image_tokens`: those of `input_tokens` that pictures took; `images`: how many were made.
 */
export interface Usage {
  type: "usage";
  input_tokens: number;
  output_tokens: number;
  reasoning_tokens?: number | null;
  cached_tokens?: number | null;
  image_tokens?: number | null;
  images?: number | null;
  timings?: Timings | null;
}

/**
 * Terminal: the stream broke. `code` is one of `core.errors`.
 *
 * `param`: the field of the request that was wrong, where the engine found one.
 */
export interface Failed {
  type: "failed";
  code: string;
  message: string;
  retryable?: boolean;
  param?: string | null;
}

/** Terminal: the stream is whole, or was cancelled on request (`reason`). */
export interface Done {
  type: "done";
  reason: "cancelled" | "filtered" | "length" | "stop" | "tool_calls";
}

/** A line of a listing. Times in milliseconds since the epoch; `bytes` as stored. */
export interface StreamInfo {
  stream: string;
  owner: string;
  dialect: string;
  binding: string;
  model: string;
  state: "cancelled" | "done" | "failed" | "interrupted" | "live";
  created: number;
  ended: number | null;
  events: number;
  bytes: number;
}

/** Wishes for the streamed form. */
export interface OpenAiStreamOptions {
  include_usage?: boolean | null;
  include_obfuscation?: boolean | null;
}

/** An entry of `messages`. */
export interface OpenAiChatMessage {
  role: "assistant" | "developer" | "function" | "system" | "tool" | "user";
  content?: string | (OpenAiTextPart | OpenAiRefusalPart | OpenAiImageUrlPart | OpenAiImagePart | OpenAiAudioPart | OpenAiAudioUrlPart | OpenAiVideoUrlPart | OpenAiFilePart)[] | null;
  name?: string | null;
  tool_calls?: OpenAiCall[] | null;
  tool_call_id?: string | null;
  reasoning_content?: string | null;
  reasoning?: string | null;
  refusal?: string | null;
  function_call?: unknown;
  audio?: unknown;
}

/** An entry of `tools`. Types other than `function` are refused by name. */
export interface OpenAiTool {
  type?: string;
  function?: OpenAiFunction | null;
}

/** A tool choice that is an object. */
export interface OpenAiNamedChoice {
  type?: string;
  function?: OpenAiNamedFunction | null;
  allowed_tools?: OpenAiAllowedTools | null;
}

/** `schema` beside `json_object` is llama.cpp's own short form of `json_schema`. */
export interface OpenAiResponseFormat {
  type: "json_object" | "json_schema" | "text";
  json_schema?: OpenAiSchemaFormat | null;
  schema?: unknown;
}

/** `chat_template_kwargs`; what else a template may take is ignored. */
export interface OpenAiTemplateArguments {
  enable_thinking?: boolean | null;
  thinking?: boolean | null;
}

/** A literal `extra_body`. */
export interface OpenAiExtraBody {
  enable_thinking?: boolean | null;
  chat_template_kwargs?: OpenAiTemplateArguments | null;
}

/** `owned_by` is the binding, `root` the model that an alias stands for. */
export interface OpenAiModel {
  id: string;
  object: string;
  created: number;
  owned_by: string;
  root: string;
  aliases: string[];
  max_model_len: number | null;
  permission: OpenAiPermission[];
  capabilities: OpenAiCapabilities;
}

/** `chat_template_kwargs`; what else a template may take is ignored. */
export interface PortalTemplateArguments {
  enable_thinking?: boolean | null;
  thinking?: boolean | null;
}

/** A literal `extra_body`. */
export interface PortalExtraBody {
  enable_thinking?: boolean | null;
  chat_template_kwargs?: PortalTemplateArguments | null;
}

/** An entry of `tools`. Types other than `function` are refused by name. */
export interface PortalTool {
  type?: string;
  function?: PortalFunction | null;
}

/** A tool choice that is an object. */
export interface PortalNamedChoice {
  type?: string;
  function?: PortalNamedFunction | null;
  allowed_tools?: PortalAllowedTools | null;
}

/** An entry of `messages`. `content` is a string, nothing else. */
export interface PortalChatMessage {
  role: "assistant" | "system" | "tool" | "user";
  content: string;
  tool_calls?: PortalSaidCall[] | null;
  tool_call_id?: string | null;
}

/** What a tool said, for the call of this id. */
export interface PortalToolResult {
  tool_call_id: string;
  content: string;
}

/** A tool call, in both directions. `arguments`: an object, or the JSON text of one. */
export interface PortalCall {
  id: string;
  name: string;
  arguments: unknown;
}

/**
 * One message of a session. `state` marks the last message of a turn that is not whole:
 * `live`, `failed`, `cancelled`, `interrupted`; `error` says why.
 */
export interface PortalHistoryMessage {
  role: string;
  content: string;
  tool_calls?: PortalCall[];
  tool_call_id?: string;
  state?: string;
  error?: string;
}

/** A line of the listing. Times in ISO 8601, UTC. */
export interface PortalSessionEntry {
  session_id: string;
  title: string;
  model: string;
  created_at: string;
  updated_at: string;
  turns: number;
  last_message_preview: string;
}

/** One thing that is wrong with a body; `loc` is the path to it. */
export interface PortalProblem {
  type: string;
  loc: (string | number)[];
  msg: string;
}

/** Bytes kept once beside the log, named by their content. `size` is in bytes. */
export interface Blob {
  sha256: string;
  media_type: string;
  size: number;
}

/** How long the engine itself says it took, in nanoseconds. */
export interface Timings {
  load?: number;
  prompt?: number;
  generation?: number;
}

/** Plain text. The breakpoint, here and below, is a hint. */
export interface OpenAiTextPart {
  type: "text";
  text: string;
  prompt_cache_breakpoint?: unknown;
}

/** What an assistant said in place of an answer. */
export interface OpenAiRefusalPart {
  type: "refusal";
  refusal: string;
}

/** A picture, as OpenAI writes it (some clients send the bare address). */
export interface OpenAiImageUrlPart {
  type: "image_url";
  image_url: string | OpenAiImageAddress;
  prompt_cache_breakpoint?: unknown;
}

/** A picture, as LLMaaS' documentation writes it. */
export interface OpenAiImagePart {
  type: "image";
  image: string;
}

/** Sound; refused. */
export interface OpenAiAudioPart {
  type: "input_audio";
}

/** Sound; refused. */
export interface OpenAiAudioUrlPart {
  type: "audio_url";
}

/** A film; refused. */
export interface OpenAiVideoUrlPart {
  type: "video_url";
}

/** A file; refused. */
export interface OpenAiFilePart {
  type: "file";
}

/** A call that an assistant made earlier. */
export interface OpenAiCall {
  id: string;
  function: OpenAiCalledFunction;
}

/** A function that the model may call; `parameters` is a JSON schema. */
export interface OpenAiFunction {
  name: string;
  description?: string | null;
  parameters?: unknown;
  strict?: boolean | null;
}

/** The function of a tool choice. */
export interface OpenAiNamedFunction {
  name: string;
}

/** Which of the tools may be called this time. */
export interface OpenAiAllowedTools {
  mode: "auto" | "required";
  tools: OpenAiAllowedTool[];
}

/** `response_format.json_schema`. */
export interface OpenAiSchemaFormat {
  name?: string | null;
  description?: string | null;
  schema?: unknown;
  strict?: boolean | null;
}

/** What one's key may do with the model: everything that there is but training. */
export interface OpenAiPermission {
  id: string;
  created: number;
  object: string;
  allow_sampling: boolean;
  allow_view: boolean;
  allow_fine_tuning: boolean;
}

/** `multimodal`: more than text goes in. */
export interface OpenAiCapabilities {
  multimodal: boolean;
  inputs: string[];
  outputs: string[];
}

/** A function that the model may call; `parameters` is a JSON schema. */
export interface PortalFunction {
  name: string;
  description?: string | null;
  parameters?: unknown;
  strict?: boolean | null;
}

/** The function of a tool choice. */
export interface PortalNamedFunction {
  name: string;
}

/** Which of the tools may be called this time. */
export interface PortalAllowedTools {
  mode: "auto" | "required";
  tools: PortalAllowedTool[];
}

/** A tool call as it comes back. */
export interface PortalSaidCall {
  id: string;
  name: string;
  arguments?: { [name: string]: unknown } | string;
}

/** Where a picture is: `https:` or `data:`. */
export interface OpenAiImageAddress {
  url: string;
  detail?: "auto" | "high" | "low" | "original" | null;
}

/** `arguments` is JSON text; nothing at all, where a function takes none. */
export interface OpenAiCalledFunction {
  name: string;
  arguments?: string | null;
}

/** A tool, named again. Only `function` is known. */
export interface OpenAiAllowedTool {
  type?: string;
  function?: OpenAiNamedFunction | null;
}

/** A tool, named again. Only `function` is known. */
export interface PortalAllowedTool {
  type?: string;
  function?: PortalNamedFunction | null;
}
