import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, describe, it as test } from "node:test";
import { HookHub } from "../dist/index.js";
import { retryAfter } from "../dist/transport.js";

/** A client of a real server on loopback that answers every request with this text, and the URLs that were asked. */
async function answering(text, more = {}) {
    const asked = [];
    const server = createServer((request, response) => {
        asked.push(request.url);
        request.resume().on("end", () => response.end(text));
    });
    after(() => server.closeAllConnections() ?? server.close());
    await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${server.address().port}`;
    return { url, asked, hookhub: new HookHub({ url, apiKey: "hh_1", retries: 0, ...more }) };
}

describe("answers that are no such as the API sends", { concurrency: true }, () => {
    const lists = {
        pages: (hookhub) => hookhub.webhooks.list().next(),
        "event types": (hookhub) => hookhub.eventTypes.list(),
        consumers: (hookhub) => hookhub.webhooks.consumers("w"),
    };
    for (const [name, list] of Object.entries(lists)) {
        for (const text of ["{}", '{"results":7,"consumers":7}', '{"results":[null],"consumers":[null]}', "[]"]) {
            test(`a list of no objects is an error: ${name} ${text}`, async () => {
                await assert.rejects(list((await answering(text)).hookhub), { code: "not_hookhub" });
            });
        }
    }

    test("a link to the next page that is no text is an error", async () => {
        const { hookhub } = await answering('{"results":[],"next":8}');
        await assert.rejects(hookhub.webhooks.list().next(), { code: "not_hookhub" });
    });

    test("receipts without ids are an error", async () => {
        for (const text of ['{"events":[null]}', '{"events":[{}]}', '{"events":[{"id":1}]}', '{"events":{}}']) {
            await assert.rejects((await answering(text)).hookhub.publish("push", {}), { code: "not_hookhub" });
        }
    });

    test("so is a cancellation that is no object", async () => {
        for (const text of ["<html>", "null", ""]) {
            await assert.rejects((await answering(text)).hookhub.deliveries.cancel("d"), { code: "not_hookhub" });
        }
    });

    test("of a body without end only the beginning is read", async () => {
        let sent = 0;
        let cancelled = false;
        const body = new ReadableStream({
            pull(controller) {
                sent += 1 << 20;
                controller.enqueue(new Uint8Array(1 << 20).fill(0x20));
            },
            cancel() {
                cancelled = true;
            },
        });
        const { hookhub } = await answering("", { fetch: async () => new Response(body) });

        await assert.rejects(hookhub.webhooks.get("w"), { code: "not_hookhub" });

        assert.ok(cancelled);
        assert.ok(sent < 70 << 20);
    });

    test("letters that are split between chunks stay whole", async () => {
        const bytes = new TextEncoder().encode('{"id":"ü€😀"}');
        const body = new ReadableStream({
            start(controller) {
                for (const byte of bytes) controller.enqueue(Uint8Array.of(byte));
                controller.close();
            },
        });
        const { hookhub } = await answering("", { fetch: async () => new Response(body) });

        assert.deepEqual(await hookhub.webhooks.get("w"), { id: "ü€😀" });
    });
});

describe("settings", { concurrency: true }, () => {
    test("white space around an address is none of it", async () => {
        const { url, asked } = await answering('{"id":"w"}');
        for (const space of ["\n", "\r\n", " ", "\t"]) {
            const hookhub = new HookHub({ url: ` ${url}/v1/${space}`, apiKey: "hh_1", retries: 0 });
            assert.deepEqual(await hookhub.webhooks.get("w"), { id: "w" });
        }
        assert.deepEqual(asked, Array(4).fill("/v1/webhooks/w"));
    });

    test("an address that would end elsewhere, or is missing, is refused", () => {
        for (const url of ["https://a?", "https://a#", "https://a/?", "https://a/v1\n/b", "https://a b", undefined]) {
            assert.throws(() => new HookHub({ url, apiKey: "hh_1" }), { name: "TypeError", message: /^url must look like/ });
        }
        assert.throws(() => new HookHub({ url: "https://a", apiKey: undefined }), {
            name: "TypeError",
            message: /^apiKey is empty/,
        });
    });

    test("a time that is none is refused, and nothing is asked", async () => {
        const { hookhub, asked } = await answering("{}");
        const more = { timestamp: new Date("nonsense") };
        await assert.rejects(hookhub.publish("push", {}, more), { name: "TypeError", message: /timestamp/ });
        assert.deepEqual(asked, []);
    });
});

describe("Retry-After", () => {
    const now = Date.UTC(2026, 2, 4, 5, 6, 7);
    const times = {
        0: 0,
        7: 7_000,
        "99999999999999999999": 1e12,
        "Wed, 04 Mar 2026 05:06:17 GMT": 10_000,
        "Wednesday, 04-Mar-26 05:06:17 GMT": 10_000,
        "Wed Mar  4 05:06:17 2026": 10_000,
        "Wed, 04 Mar 2026 05:06:00 GMT": 0,
        "2030-01-01": 0,
        "Jan 1 2030": 0,
        "1, 2": 0,
        "-5": 0,
        "1.5": 0,
        soon: 0,
    };
    for (const [header, expected] of Object.entries(times))
        test(header, () => assert.equal(retryAfter(header, now), expected));
});
