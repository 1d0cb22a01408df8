// Reads {openapi, asyncapi: [...]} as JSON and prints what Spectral and AsyncAPI's parser find wrong with them, as JSON.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { Parser } from "@asyncapi/parser";
import spectral from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";

const { openapi, asyncapi } = JSON.parse(readFileSync(0, "utf8"));

const linter = new spectral.Spectral();
linter.setRuleset({ extends: [[rulesets.oas, "recommended"]] });
const found = await linter.run(openapi);

// AsyncAPI's own schema, which Spectral would compile anew for each document: most of the time of this script.
const { default: Ajv } = createRequire(import.meta.resolve("@stoplight/spectral-functions"))("ajv/dist/core");
const compile = Ajv.prototype.compile;
const compiled = new Map();
Ajv.prototype.compile = function (schema, ...more) {
  if (!schema.$id?.startsWith("http://asyncapi.com/")) return compile.call(this, schema, ...more);
  const key = `${schema.$id} ${this.opts.allErrors}`;
  if (!compiled.has(key)) compiled.set(key, compile.call(this, schema, ...more));
  return compiled.get(key);
};

const parser = new Parser();
const parsed = [];
for (const document of asyncapi) {
  const { document: read, diagnostics } = await parser.parse(JSON.stringify(document));
  parsed.push({
    // Severity 0 is an error, 1 a warning; the rest are hints, such as that the document has no license.
    faults: diagnostics.filter((each) => each.severity < 2).map((each) => `${each.path.join(".")}: ${each.message}`),
    messages: read ? read.messages().all().map((each) => each.name()) : [],
    version: read?.version(),
  });
}

console.log(JSON.stringify({
  openapi: found.map((each) => `${each.code} ${each.path.join(".")}: ${each.message}`),
  asyncapi: parsed,
}));
