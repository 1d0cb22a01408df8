// Create a webhook, list webhooks and publish an event with the types that openapi-typescript generated.
import createClient from "openapi-fetch";
import type { paths } from "./generated.js";

declare const process: { argv: string[]; stdout: { write(text: string): void } };

const [url, key, receiver] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });

const made = await client.POST("/v1/webhooks", { body: { url: receiver, events: ["*"] } });
const page = await client.GET("/v1/webhooks", { params: { query: { limit: 10 } } });
const published = await client.POST("/v1/events", { body: { type: "push", data: { n: 1 }, repository: "Hello-World" } });
if (!made.data || !page.data || !published.data || !("id" in published.data)) {
  throw new Error(JSON.stringify([made.error, page.error, published.error, published.data]));
}
const listed: string[] = page.data.results.map((webhook) => webhook.id);
process.stdout.write(JSON.stringify({ created: made.data.id, listed, event: published.data.id }));
