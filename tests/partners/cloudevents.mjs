// Reads requests with the SDK of the CloudEvents project: a list of {"headers": …, "body": …} on standard input.

import { text } from "node:stream/consumers";
import { HTTP } from "cloudevents";

const requests = JSON.parse(await text(process.stdin));
const read = (request) => {
  if (!HTTP.isEvent(request)) return null;
  const event = HTTP.toEvent(request);
  return { ...event.toJSON(), is_valid: event.validate() };
};
console.log(JSON.stringify(requests.map(read)));
