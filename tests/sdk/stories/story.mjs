// The story in JavaScript.
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { HookHub, HookHubError, verify } from "@hookhub/client";

const { HOOKHUB_URL: url, HOOKHUB_API_KEY: apiKey, STORY: story } = process.env;
const paid = `${story}.paid`;
const told = {};

const receiver = createServer(async (request, response) => {
  const parts = [];
  for await (const part of request) parts.push(part);
  response.writeHead(204).end();
  receiver.emit("webhook", Buffer.concat(parts), request.headers);
});
await new Promise((resolve) => receiver.listen(0, "127.0.0.1", resolve));
const first = once(receiver, "webhook");

const hookhub = new HookHub({ url, apiKey });
const webhook = await hookhub.webhooks.create({ url: `http://127.0.0.1:${receiver.address().port}/`, events: [paid] });
told.replayed = [];
for (let n = 0; n < 2; n++) {
  told.replayed.push((await hookhub.publish(paid, { id: 42 }, { id: `${story}-42` })).replayed);
}

const received = await verify(...(await first), { secrets: webhook.secret });
told.received = [received.type, received.data];

told.batch = (await hookhub.publishBatch([0, 1, 2, 3, 4].map((id) => ({ type: paid, data: { id } })))).length;
let found = new Map();
for (let n = 0; n < 600; n++) {
  found = new Map();
  for await (const { id, state } of hookhub.deliveries.list({ webhook: webhook.id, limit: 2 })) found.set(id, state);
  if (found.size === 6 && [...found.values()].every((state) => state === "delivered")) break;
  await sleep(100);
}
told.delivered = found.size;
told["is the delivery"] = found.has(received.id);

const failure = async (call) => {
  try {
    await call;
  } catch (error) {
    if (error instanceof HookHubError) return error;
    throw error;
  }
};
const error = await failure(hookhub.publish("not a type", {}));
told.error = [error.status, error.code, error.fields[0].field];

told.throttled = (await hookhub.publish(paid, { throttle: story })).type;

const queue = await hookhub.webhooks.create({ kind: "poll", events: [`${story}.polled`] });
const trace = { traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01" };
await hookhub.publish(`${story}.polled`, { id: 43 }, { trace });
const page = await hookhub.webhooks.poll(queue.id, { consumer: "story", wait: 20 });
const polled = await verify(page.events[0].body, page.events[0].headers, { secrets: queue.secret });
await hookhub.webhooks.commit(queue.id, "story", page.cursor);
told.trace = page.events[0].headers.traceparent;
told.polled = [polled.data, (await hookhub.webhooks.consumers(queue.id)).map(({ behind }) => behind)];
await hookhub.webhooks.delete(queue.id);

const key = await hookhub.apiKeys.create({ scope: "publish", name: story });
const other = new HookHub({ url, apiKey: key.key, retries: 0 });
await other.publish(paid, null);
await hookhub.apiKeys.revoke(key.id);
told.revoked = (await failure(other.publish(paid, null))).status;

await hookhub.webhooks.delete(webhook.id);
told.deleted = (await failure(hookhub.webhooks.get(webhook.id))).status;

console.log(JSON.stringify(told));
process.exit();
