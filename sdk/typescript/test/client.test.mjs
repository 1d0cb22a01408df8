import assert from "node:assert/strict";
import { createServer } from "node:http";
import { createServer as createTcpServer } from "node:net";
import { after, describe, it as test } from "node:test";
import { ConnectionFailed, HookHub, HookHubError } from "../dist/index.js";

/** A real server on loopback, which accepts events unless it has other replies; a status of 0 closes the connection. */
function fake(replies = []) {
    const asked = [];
    const server = createServer(async (request, response) => {
        const parts = [];
        for await (const part of request) parts.push(part);
        const body = Buffer.concat(parts).toString("utf8");
        asked.push({ method: request.method, url: request.url, headers: request.headers, body });
        const accepted = () => ({
            status: 202,
            body: {
                events: body
                    .trim()
                    .split("\n")
                    .map(() => ({ id: "e", type: "push", accepted_at: "2026-03-04T05:06:07Z" })),
            },
        });
        const { status, body: answer = "", headers = {} } = replies.shift() ?? accepted();
        if (!status) return request.socket.destroy();
        response.writeHead(status, headers).end(typeof answer === "string" ? answer : JSON.stringify(answer));
    });
    after(() => {
        server.closeAllConnections();
        server.close();
    });
    return new Promise((resolve) =>
        server.listen(0, "127.0.0.1", () => {
            const url = `http://127.0.0.1:${server.address().port}`;
            resolve({
                asked,
                replies,
                url,
                connect: (more = {}) => new HookHub({ url, apiKey: "hh_1_secret\n", ...more }),
            });
        }),
    );
}

const refusal = (status, code, headers = {}, fields = []) => ({
    status,
    headers,
    body: { error: { code, message: "No.", fields } },
});

const TROUBLE = {
    "the connection breaks": { status: 0 },
    429: refusal(429, "throttled"),
    "502 of a proxy": { status: 502, body: "<html>bad gateway</html>" },
    503: refusal(503, "unavailable"),
};

describe("the client", { concurrency: true }, () => {
    for (const [name, trouble] of Object.entries(TROUBLE)) {
        test(`an event is published again with the same id: ${name}`, async () => {
            const hub = await fake([trouble, trouble]);
            const hookhub = hub.connect();

            const receipt = await hookhub.publish(
                "push",
                { a: "ü" },
                { repository: "widgets", trace: { traceparent: "00-1" } },
            );

            assert.deepEqual(receipt, { id: "e", type: "push", accepted_at: "2026-03-04T05:06:07Z", replayed: false });
            assert.equal(hub.asked.length, 3);
            assert.equal(new Set(hub.asked.map(({ body }) => body)).size, 1);
            const sent = JSON.parse(hub.asked[0].body);
            assert.deepEqual(sent, {
                type: "push",
                data: { a: "ü" },
                id: sent.id,
                repository: "widgets",
                trace: { traceparent: "00-1" },
            });
            assert.equal(hub.asked[0].headers.authorization, "Bearer hh_1_secret");
            assert.equal(hub.asked[0].headers["hookhub-dialect"], "native");
        });
    }

    test("Retry-After is honoured within the deadline, and no attempt begins after it", async () => {
        const hub = await fake([
            refusal(429, "throttled", { "Retry-After": "1" }),
            refusal(503, "unavailable", { "Retry-After": "90" }),
        ]);
        const began = Date.now();

        await assert.rejects(hub.connect({ deadline: 60_000 }).publish("push", {}), {
            status: 503,
            code: "unavailable",
        });

        assert.equal(hub.asked.length, 2);
        // Timers may end a millisecond early.
        assert.ok(Date.now() - began >= 990);
    });

    test("what may have had an effect is not repeated", async () => {
        for (const trouble of [{ status: 0 }, refusal(503, "unavailable"), refusal(504, "unavailable")]) {
            const hub = await fake([trouble]);
            await assert.rejects(
                hub.connect().webhooks.create({ url: "https://a.example/", events: ["push"] }),
                HookHubError,
            );
            assert.equal(hub.asked.length, 1);
        }
    });

    test("a closed port is tried again even for a creation", async () => {
        const server = createServer();
        const port = await new Promise((resolve) =>
            server.listen(0, "127.0.0.1", () => resolve(server.address().port)),
        );
        await new Promise((resolve) => server.close(resolve));
        const hookhub = new HookHub({ url: `http://127.0.0.1:${port}/v1/`, apiKey: "hh_1", retries: 1 });

        await assert.rejects(hookhub.webhooks.create({ url: "https://a.example/", events: ["push"] }), (error) => {
            assert.ok(error instanceof ConnectionFailed);
            assert.match(
                error.message,
                /no response from http:\/\/127\.0\.0\.1:\d+\/v1 after 2 attempts: .*ECONNREFUSED/,
            );
            return true;
        });
    });

    test("an attempt ends after its timeout, and a call with its signal", async () => {
        const server = createServer(() => undefined);
        after(() => server.closeAllConnections() ?? server.close());
        const port = await new Promise((resolve) =>
            server.listen(0, "127.0.0.1", () => resolve(server.address().port)),
        );
        const url = `http://127.0.0.1:${port}`;

        const slow = new HookHub({ url, apiKey: "hh_1", timeout: 30, retries: 1 });
        await assert.rejects(slow.publish("push", {}), { code: "connection_failed", status: undefined });
        const cancel = new AbortController();
        const call = new HookHub({ url, apiKey: "hh_1" }).publish("push", {}, { signal: cancel.signal });
        cancel.abort(new Error("the page was left"));
        await assert.rejects(call, { message: "the page was left" });
    });

    test("a batch is cut, and tells what was accepted before it failed", async () => {
        const hub = await fake();
        async function* events(count, data) {
            for (let n = 0; n < count; n++) yield { type: "push", data };
        }

        assert.equal((await hub.connect().publishBatch(events(1001, 1))).length, 1001);
        assert.deepEqual(
            hub.asked.map(({ body }) => body.trim().split("\n").length),
            [1000, 1],
        );
        // 900,000 bytes in UTF-8.
        await hub.connect().publishBatch(events(2, "ü".repeat(450_000)));
        assert.equal(hub.asked.length, 4);

        const failing = await fake();
        const call = failing.connect({
            fetch: (...args) => {
                if (failing.asked.length === 1)
                    failing.replies.push(refusal(422, "invalid", {}, [{ field: "type", message: "is bad" }]));
                return fetch(...args);
            },
        });
        await assert.rejects(call.publishBatch(events(1001, 1)), (error) => {
            assert.deepEqual([error.status, error.code, error.published.length], [422, "invalid", 1000]);
            assert.deepEqual(error.fields, [{ field: "type", message: "is bad" }]);
            return true;
        });
    });

    test("pages are fetched as they are needed", async () => {
        const elsewhere = "http://internal.example:8000/v1/deliveries?state=failed&state=held&limit=2&cursor=a%2Bb";
        const hub = await fake([
            { status: 200, body: { results: [{ id: "1" }, { id: "2" }], next: elsewhere } },
            { status: 200, body: { results: [{ id: "3" }], next: null } },
        ]);

        const ids = [];
        for await (const { id } of hub.connect().deliveries.list({ state: ["failed", "held"], limit: 2 })) ids.push(id);

        assert.deepEqual(ids, ["1", "2", "3"]);
        assert.deepEqual(
            hub.asked.map(({ url }) => url),
            [
                "/v1/deliveries?state=failed&state=held&limit=2",
                "/v1/deliveries?state=failed&state=held&limit=2&cursor=a%2Bb",
            ],
        );
    });

    test("the organization of an operator's key is named once", async () => {
        const hub = await fake([
            { status: 200, body: { results: [], next: "http://a/v1/webhooks?cursor=a&organization=acme" } },
            { status: 200, body: { results: [] } },
            { status: 200, body: { slug: "acme" } },
        ]);
        const hookhub = hub.connect({ organization: "acme" });

        await hookhub.webhooks.list({ status: "active" }).next();
        await hookhub.organizations.get("acme");

        assert.deepEqual(
            hub.asked.map(({ url }) => url),
            [
                "/v1/webhooks?status=active&organization=acme",
                "/v1/webhooks?cursor=a&organization=acme",
                "/v1/organizations/acme",
            ],
        );
    });

    test("a list that leads to itself ends, and no state at all is not every state", async () => {
        const page = { status: 200, body: { results: [], next: "http://a/v1/webhooks?cursor=a" } };
        const hub = await fake([page, page, page]);

        await assert.rejects(hub.connect().webhooks.list().next(), { code: "not_hookhub" });
        await assert.rejects(hub.connect().deliveries.list({ state: [] }).next(), TypeError);
        assert.equal(hub.asked.length, 2);
    });

    test("a part of a path that would lead elsewhere is refused, and nothing is asked", async () => {
        const hub = await fake();
        const hookhub = hub.connect();

        for (const part of ["..", ".", ""]) {
            await assert.rejects(hookhub.repositories.delete(part), TypeError);
            await assert.rejects(hookhub.deliveries.redeliver(part), TypeError);
        }

        assert.deepEqual(hub.asked, []);
    });

    test("a repeated deletion or cancellation that was carried out before is success", async () => {
        const cancelled = { id: "d", state: "cancelled" };
        const hub = await fake([
            { status: 0 },
            refusal(404, "not_found"),
            { status: 0 },
            refusal(409, "conflict"),
            { status: 200, body: cancelled },
            refusal(404, "not_found"),
        ]);
        const hookhub = hub.connect();

        await hookhub.webhooks.delete("../w");
        assert.deepEqual(await hookhub.deliveries.cancel("d"), cancelled);
        await assert.rejects(hookhub.webhooks.delete("w"), { status: 404 });
        assert.equal(hub.asked[0].url, "/v1/webhooks/..%2Fw");
    });

    test("an answer that is not HookHub's is an error too", async () => {
        const hub = await fake([
            { status: 200, body: "<html>" },
            { status: 301, headers: { Location: "https://b.example/" } },
            { status: 500, body: "oops" },
        ]);
        const hookhub = hub.connect({ retries: 0 });

        for (const code of ["not_hookhub", "redirected", "unknown"])
            await assert.rejects(hookhub.webhooks.get("w"), { code });
    });

    test("a server that speaks no TLS is not asked again, and one that ends the handshake is", async () => {
        for (const [reply, attempts] of [["HTTP/1.1 400 Bad Request\r\n\r\n", 1], ["", 2]]) {
            let connections = 0;
            const server = createTcpServer((socket) => {
                connections++;
                socket.on("error", () => undefined).once("data", () => socket.end(reply));
            });
            after(() => server.close());
            await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
            const url = `https://127.0.0.1:${server.address().port}`;

            await assert.rejects(new HookHub({ url, apiKey: "hh_1", retries: 1 }).publish("push", {}), {
                code: "connection_failed",
            });

            assert.equal(connections, attempts);
        }
    });

    test("what JSON cannot say is a mistake of the caller, told at once", async () => {
        const hub = await fake();
        const circle = {};
        circle.circle = circle;

        for (const changes of [{ description: 1n }, circle])
            await assert.rejects(hub.connect().webhooks.update("w", changes), TypeError);

        assert.equal(hub.asked.length, 0);
    });

    test("a setting that is no number is refused, and one that no timer can wait for is kept", async () => {
        const hub = await fake();

        for (const name of ["timeout", "retries", "deadline"])
            for (const value of [NaN, -1, null, "5"])
                assert.throws(() => hub.connect({ [name]: value }), { name: "TypeError", message: new RegExp(name) });
        await hub.connect({ timeout: Infinity, deadline: Infinity }).publish("push", {});

        assert.equal(hub.asked.length, 1);
    });

    test("an address or a key that is none is refused without being shown", () => {
        for (const [url, apiKey] of [
            ["hooks.example", "hh_secret"],
            ["ftp://hooks.example", "hh_secret"],
            ["https://u:hh_secret@hooks.example", "k"],
            ["https://hooks.example?a=hh_secret", "k"],
            ["https://hooks.example", ""],
            ["https://hooks.example", "hh_secret ü"],
        ]) {
            assert.throws(
                () => new HookHub({ url, apiKey }),
                (error) => error instanceof TypeError && !/hh_secret/.test(error.message),
            );
        }
    });
});
