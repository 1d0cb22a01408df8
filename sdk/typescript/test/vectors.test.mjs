import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";
import { FORMATS, VerificationFailed, verify } from "../dist/index.js";

const FOLDER = new URL("../../vectors/", import.meta.url);
const files = readdirSync(FOLDER).map((name) => JSON.parse(readFileSync(new URL(name, FOLDER), "utf8")));

async function outcome(format, one, headers = one.headers) {
    const options = { secrets: one.secrets, format, now: new Date(one.now * 1000) };
    if ("tolerance" in one) options.tolerance = one.tolerance;
    if ("max_event_age" in one) options.maxEventAge = one.max_event_age;
    try {
        const { type, id, timestamp, data } = await verify(Buffer.from(one.body, "base64"), headers, options);
        return { event: { type, id, timestamp: timestamp && timestamp.toISOString(), data } };
    } catch (error) {
        if (!(error instanceof VerificationFailed)) throw error;
        return { error: error.code };
    }
}

test("there are vectors for every format", () => {
    assert.deepEqual(files.map((file) => file.format).sort(), [...FORMATS].sort());
});

for (const { format, cases } of files) {
    test(`the vectors of ${format}`, async () => {
        for (const one of cases) {
            const expected = "event" in one ? { event: one.event } : { error: one.error };
            assert.deepEqual(await outcome(format, one), expected, one.name);
        }
    });

    test(`${format}: headers as fetch and as Node give them`, async () => {
        const one = cases.find((each) => each.name === "valid: push");
        const lower = Object.fromEntries(one.headers.map(([name, value]) => [name.toLowerCase(), value]));

        assert.deepEqual(await outcome(format, one, new Headers(one.headers)), { event: one.event });
        assert.deepEqual(await outcome(format, one, { ...lower, "x-none": undefined }), { event: one.event });
        const lists = Object.fromEntries(Object.entries(lower).map(([name, value]) => [name, [value]]));
        assert.deepEqual(await outcome(format, one, lists), { event: one.event });
    });
}

test("the body may be a string or an ArrayBuffer, and the format is standard-webhooks by default", async () => {
    const { cases } = files.find((file) => file.format === "standard-webhooks");
    const one = cases.find((each) => each.name === "valid: utf-8");
    const bytes = Buffer.from(one.body, "base64");
    const options = { secrets: one.secrets[0], now: new Date(one.now * 1000) };

    for (const body of [bytes.toString("utf8"), new Uint8Array(bytes).buffer]) {
        assert.deepEqual((await verify(body, one.headers, options)).data, one.event.data);
    }
});

const asGithub = (options) => ({ secrets: "x", format: "github", ...options });

test("a mistake of the caller is a TypeError for every request", async () => {
    const mistakes = [
        { secrets: [] },
        { secrets: "" },
        { secrets: ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", ""] },
        { secrets: "plain text" },
        { secrets: "x", format: "slack" },
        { secrets: "x", format: "toString" },
        ...[null, Number.NaN, -1, "300"].flatMap((span) => [{ tolerance: span }, { maxEventAge: span }]).map(asGithub),
        ...[new Date(Number.NaN), 1772625600].map((now) => asGithub({ now })),
    ];
    for (const options of mistakes) await assert.rejects(verify("{}", {}, options), TypeError);
    await assert.rejects(verify({ type: "push" }, {}, { secrets: "x", format: "github" }), TypeError);
});

test("whatever a stranger sends, verify rejects with VerificationFailed", async () => {
    const pieces = [
        "sha256=",
        "sha1=",
        "v1,",
        "t=1,",
        "t=9999999999999,sha256=",
        "payload=",
        "%7",
        "&",
        "{",
        "\0",
        "ü",
        "\ud800",
    ];
    const names = ["webhook-id", "webhook-timestamp", "webhook-signature", "x-hub-signature-256", "x-pierre-signature"];
    // A generator of numbers that is the same in every run.
    let seed = 1;
    const next = (below) => (seed = (seed * 48271) % 2147483647) % below;
    const text = () => Array.from({ length: next(4) }, () => pieces[next(pieces.length)]).join("");
    for (let n = 0; n < 2000; n++) {
        const format = FORMATS[next(FORMATS.length)];
        const headers = Array.from({ length: next(6) }, () => [names[next(names.length)], text()]);
        headers.push([["x-coregit-signature", "x-sigmagit-signature", "x-codmir-signature"][next(3)], text()]);
        const call = verify(text(), headers, { secrets: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", format });
        await assert.rejects(call, VerificationFailed);
    }
});
