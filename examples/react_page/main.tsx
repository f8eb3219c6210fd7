import { useStream } from "@penstock/client/react";
import { StrictMode, useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { llmAPI, penstock } from "./api";

/** One answer, live; a reload of the page goes on with it. */
function Answer() {
  const { text, status, error, id, send, resume, stop } = useStream(penstock);
  const running = status === "waiting" || status === "streaming";

  useEffect(() => {
    const last = sessionStorage.getItem("stream");
    if (last) resume(last);
  }, [resume]);
  useEffect(() => {
    if (id) sessionStorage.setItem("stream", id);
  }, [id]);

  return (
    <section>
      <button id="ask" onClick={() => send("Tell me a story about a gateway.")} disabled={running}>
        Ask
      </button>
      <button id="stop" onClick={stop} disabled={!running}>
        Stop
      </button>
      <output id="answer">{text}</output>
      <small id="status">{error ? error.message : status}</small>
    </section>
  );
}

/** The prompt portal's own code, unchanged but for the import above. */
function Session() {
  const [response, setResponse] = useState("");

  const ask = () => {
    setResponse("");
    llmAPI.chatSessionStream(
      {
        session_id: "session-123",
        message: "Hello!",
        temperature: 0.7,
      },
      (chunk) => setResponse((prev) => prev + chunk), // onChunk
      () => console.log("Done!"), // onComplete
      (error) => console.error(error), // onError
    );
  };

  return (
    <section>
      <button id="say" onClick={ask}>
        Say hello
      </button>
      <output id="response">{response}</output>
    </section>
  );
}

createRoot(document.getElementById("page") as HTMLElement).render(
  <StrictMode>
    <Answer />
    <Session />
  </StrictMode>,
);
