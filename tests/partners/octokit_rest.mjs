// Octokit as it is published, told by lines of JSON what to call: {"call": "createWebhook", "with": {…}}, and with
// "paginate": true from page to page until the last.
import { createInterface } from "node:readline";
import { Octokit } from "@octokit/rest";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { url, key } = JSON.parse((await lines.next()).value);
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
const octokit = new Octokit({ auth: key, baseUrl: url, log: quiet });

const say = (answer) => process.stdout.write(JSON.stringify(answer) + "\n");
say({ ready: true });

for await (const line of lines) {
  const asked = JSON.parse(line);
  const method = octokit.rest.repos[asked.call];
  try {
    if (asked.paginate) {
      let pages = 0;
      const data = await octokit.paginate(method, asked.with, (page) => ((pages += 1), page.data));
      say({ data, pages });
    } else {
      const { status, headers, data } = await method(asked.with);
      say({ status, link: headers.link ?? null, location: headers.location ?? null, data: data ?? null });
    }
  } catch (error) {
    say({ status: error.status ?? null, message: error.message, data: error.response?.data ?? null });
  }
}
