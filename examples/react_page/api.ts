import { Penstock, createLlmAPI } from "@penstock/client";

const url = import.meta.env.VITE_PENSTOCK_URL ?? "http://127.0.0.1:9601";

export const penstock = new Penstock({ url });
export const llmAPI = createLlmAPI({ url });
