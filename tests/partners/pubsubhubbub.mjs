// The PubSubHubbub subscriber of npm as it is published, told by lines of JSON what to do: {"do": "subscribe"} or
// {"do": "unsubscribe"} with "topic" and "hub", and {"do": "events"}, which answers with the events since the last time.
import { createInterface } from "node:readline";
import pubsubhubbub from "pubsubhubbub";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
await lines.next();
const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
let events = [];

// Without a secret: it asks for the updates to be signed with one that it derives from its own, and then verifies with
// its own.
const subscriber = pubsubhubbub.createServer({ leaseSeconds: 86400 });
for (const name of ["subscribe", "unsubscribe", "denied"]) {
  subscriber.on(name, ({ topic, hub }) => events.push({ name, topic, hub }));
}
subscriber.on("feed", ({ topic, hub, feed, headers }) => {
  events.push({ name: "feed", topic, hub, feed: feed.toString(), type: headers["content-type"] });
});
subscriber.on("listen", () => {
  subscriber.callbackUrl = `http://127.0.0.1:${subscriber.server.address().port}/`;
  say({ ready: true });
});
subscriber.listen(0, "127.0.0.1");

for await (const line of lines) {
  const asked = JSON.parse(line);
  if (asked.do === "events") {
    say(events);
    events = [];
  } else {
    subscriber[asked.do](asked.topic, asked.hub, (error) => say({ error: error ? error.message : null }));
  }
}
