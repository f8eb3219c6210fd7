import { playwright } from "@vitest/browser-playwright";
import { defineConfig } from "vitest/config";

const everywhere = ["test/{sse,vectors,typed,stream,portal,faults}.test.ts"];
const flags = [
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-default-apps",
  "--disable-sync",
  "--no-first-run",
  "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];
const shared = { globalSetup: ["test/setup.ts"], testTimeout: 30_000 };

export default defineConfig({
  test: {
    reporters: ["default", ...(process.env["CLIENT_RESULTS"] ? ["json"] : [])],
    ...(process.env["CLIENT_RESULTS"] ? { outputFile: { json: process.env["CLIENT_RESULTS"] } } : {}),
    projects: [
      { test: { ...shared, name: "node", include: everywhere, environment: "node" } },
      {
        optimizeDeps: { include: ["react", "react-dom/client", "eventsource-parser"] },
        test: {
          ...shared,
          name: "chromium",
          include: [...everywhere, "test/react.test.tsx"],
          browser: {
            enabled: true,
            headless: true,
            screenshotFailures: false,
            provider: playwright({
              launchOptions: {
                executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium",
                args: flags,
              },
            }),
            instances: [{ browser: "chromium" }],
          },
        },
      },
    ],
  },
});
