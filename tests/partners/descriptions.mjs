// Reads {openapi, asyncapi: [...]} as JSON and prints what Spectral and AsyncAPI's parser find wrong with them, as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";
import spectral from "@stoplight/spectral-core";
import rulesets from "@stoplight/spectral-rulesets";

const { openapi, asyncapi } = JSON.parse(readFileSync(0, "utf8"));

const linter = new spectral.Spectral();
linter.setRuleset({ extends: [[rulesets.oas, "recommended"]] });
const found = await linter.run(openapi);

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
