// A receiver made of other people's programs: each path is verified by the code that its system's users run.
//
// The first line of standard input is {"secret": …, "wrong": …}; the first line of output is {"port": …}. Every further
// line is a question: {"clock": milliseconds} sets this process's clock, {"status": 500} the answer to what is verified,
// and {"take": true} gives what has arrived since the last time.

import { createHmac, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { stripTypeScriptTypes } from "node:module";
import { createInterface } from "node:readline";
import { createNodeMiddleware, Webhooks } from "@octokit/webhooks";
import { validateWebhook } from "@pierre/storage";

const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const { secret, wrong } = JSON.parse((await lines.next()).value);
const read = Date.now;
let offset = 0;
Date.now = () => read() + offset;

let status = 200;
let arrived = [];

// The documents show functions and export none of them.
async function snippet(name) {
  const written = readFileSync(new URL(`snippets/${name}.ts`, import.meta.url), "utf8");
  const exported = name === "sigmagit" ? "" : "\nexport { verifySignature };";
  const script = stripTypeScriptTypes(written) + exported;
  return import(`data:text/javascript,${encodeURIComponent(script)}`);
}
const coregit = await snippet("coregit");
const codmir = await snippet("codmir");
const sigmagit = await snippet("sigmagit");

// GitHub's own library, its verification on; its middleware answers by itself.
function octokit(path, key) {
  const webhooks = new Webhooks({ secret: key });
  const silent = { debug() {}, info() {}, warn() {}, error() {} };
  webhooks.onAny(({ id, name, payload }) => arrived.push({ path, id, name, payload, is_valid: true }));
  return createNodeMiddleware(webhooks, { path, log: silent });
}
const middlewares = { "/github": octokit("/github", secret), "/github/wrong": octokit("/github/wrong", wrong) };

function fromForm(headers, body) {
  const expected = Buffer.from(`sha256=${createHmac("sha256", secret).update(body).digest("hex")}`);
  const signature = Buffer.from(headers["x-hub-signature-256"] ?? "");
  const is_valid = expected.length === signature.length && timingSafeEqual(expected, signature);
  const fields = [...new URLSearchParams(body.toString("latin1"))];
  return { is_valid, names: fields.map(([name]) => name), payload: JSON.parse(fields[0][1]) };
}

const verifiers = {
  "/form": fromForm,
  "/code-storage": async (headers, body) => {
    const { valid, error } = await validateWebhook(body, headers, secret);
    return { is_valid: valid, error };
  },
  "/coregit": (headers, body) => ({
    is_valid: coregit.verifySignature(secret, body.toString(), headers["x-coregit-signature"]),
  }),
  "/codmir": (headers, body) => ({
    is_valid: codmir.verifySignature(body.toString(), headers["x-codmir-signature"], secret),
  }),
  "/sigmagit": (headers, body) => ({
    is_valid: sigmagit.createSignature(JSON.parse(body), secret) === headers["x-sigmagit-signature"],
    is_valid_parsed: sigmagit.verifySignature(JSON.parse(body), headers["x-sigmagit-signature"], secret),
    is_valid_as_text: sigmagit.verifySignature(body.toString(), headers["x-sigmagit-signature"], secret),
  }),
};

async function bytesOf(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks);
}

const server = createServer(async (request, response) => {
  if (middlewares[request.url]) return middlewares[request.url](request, response);
  const body = await bytesOf(request);
  try {
    const verdict = await verifiers[request.url](request.headers, body);
    arrived.push({ path: request.url, headers: request.headers, body: body.toString("base64"), ...verdict });
    response.writeHead(verdict.is_valid ? status : 401).end();
  } catch (error) {
    response.writeHead(422).end(String(error));
  }
});

server.listen(0, "127.0.0.1", async () => {
  console.log(JSON.stringify({ port: server.address().port }));
  for await (const line of lines) {
    const question = JSON.parse(line);
    if ("clock" in question) offset = question.clock - read();
    if ("status" in question) status = question.status;
    const answer = question.take ? arrived.splice(0) : null;
    console.log(JSON.stringify(answer));
  }
  process.exit(0);
});
