import { buffer, bytesOf, concat, decode, encode, fromBase64, fromForm, fromHex } from "./bytes.js";
import { webCrypto } from "./crypto.js";
import { VerificationFailed, invalidBody } from "./failure.js";
import { envelope, json, rfc3339, seconds } from "./parsing.js";

export { type FailureCode, VerificationFailed } from "./failure.js";

/** The wire formats that are signed. */
export const FORMATS = [
    "standard-webhooks",
    "cloudevents",
    "cloudevents-binary",
    "mcp-event",
    "github",
    "social-gateway",
    "websub",
    "coregit",
    "code-storage",
    "sigmagit",
    "codmir",
] as const;
export type Format = (typeof FORMATS)[number];

/** The headers of any framework: of `fetch`, of Node, or pairs. */
export type HeadersOf =
    | Iterable<readonly [string, string]>
    | { readonly [name: string]: string | readonly string[] | undefined };

export interface VerifyOptions {
    /** The secret, or all that are valid: two during a rotation. */
    secrets: string | readonly string[];
    /** The wire format of the webhook. Default: `standard-webhooks`. */
    format?: Format;
    /** Seconds that a request may be old, where the format signs its time; 0 turns the check off. Default: 300. */
    tolerance?: number;
    /** Seconds that an event may be old, where the format signs the time of the event (`coregit`, `codmir`). */
    maxEventAge?: number;
    /** Replaces the clock in tests. */
    now?: Date;
}

/** A verified event. */
export interface Received<Data = unknown> {
    /**
     * Signed where it is part of the body (`standard-webhooks`, `cloudevents`, `mcp-event`, `coregit`, `codmir`).
     * Elsewhere it comes from an unsigned header: check that `data` fits it. Empty for `websub`, which does not say it.
     */
    type: string;
    /** The same on every retry and redelivery: store it to process an event only once. Null where it is not signed. */
    id: string | null;
    /** The time of the request, or of the event for `coregit` and `codmir`. Null where none is signed. */
    timestamp: Date | null;
    /** The parsed JSON payload. */
    data: Data;
}

interface Request {
    body: Uint8Array;
    headers: ReadonlyMap<string, readonly string[]>;
    secrets: readonly string[];
    tolerance: number;
    maxEventAge: number | undefined;
    now: Date;
}

// Far more than any header HookHub sends; a limit on the work that an unauthenticated request can cause.
const MAX_HEADER_LENGTH = 8192;
// HookHub signs with five secrets at most; more signatures than this are ignored.
const MAX_SIGNATURES = 20;
// How far the clock of a Code Storage may be ahead.
const MAX_CLOCK_SKEW = 60;
const BLANKS = " \t\r\n";

const WITH_CODED_SECRETS: ReadonlySet<Format> = new Set([
    "standard-webhooks",
    "cloudevents",
    "cloudevents-binary",
    "mcp-event",
]);

const VERIFIERS: Record<Format, (request: Request) => Promise<Received>> = {
    "standard-webhooks": (request) => inEnvelope(request, "type", ["data"]),
    cloudevents: (request) => inEnvelope(request, "type", ["specversion", "id", "source", "data"]),
    "cloudevents-binary": async (request) => {
        const signed = await verifyStandard(request);
        return { type: header(request, "ce-type"), ...signed, data: json(request.body) };
    },
    "mcp-event": (request) => inEnvelope(request, "name", ["eventId", "data"]),
    github: (request) => verifyHub(request, "x-github-event"),
    "social-gateway": (request) => verifyHub(request, "x-socialgateway-event"),
    websub: async (request) => {
        await verifyRawBody(request, "x-hub-signature", ["sha256", "sha384", "sha512", "sha1"]);
        return { type: "", id: null, timestamp: null, data: json(request.body) };
    },
    coregit: async (request) => {
        await verifyRawBody(request, "x-coregit-signature");
        const body = envelope(request.body, "event", ["timestamp", "data"]);
        return { type: body.event as string, id: null, timestamp: eventTime(request, body.timestamp), data: body.data };
    },
    "code-storage": verifyCodeStorage,
    sigmagit: async (request) => {
        await verifyRawBody(request, "x-sigmagit-signature");
        const type = header(request, "x-sigmagit-event");
        return { type, id: null, timestamp: null, data: json(request.body) };
    },
    codmir: async (request) => {
        await verifyRawBody(request, "x-codmir-signature");
        const body = envelope(request.body, "type", ["id", "timestamp", "data"]);
        if (typeof body.id !== "string") throw invalidBody('"id" in the body is not a string');
        return {
            type: body.type as string,
            id: body.id,
            timestamp: eventTime(request, body.timestamp),
            data: body.data,
        };
    },
};

/**
 * Verify a request's signature and return its event; reject with `VerificationFailed`.
 *
 *     const received = await verify(await request.arrayBuffer(), request.headers, { secrets: "whsec_…" });
 *
 * `body` is the raw body: JSON that was parsed and serialized again no longer matches its signature. A mistake of the
 * caller, such as no secret or an unknown format, rejects with a TypeError, whatever the request holds.
 */
export async function verify<Data = unknown>(
    body: Uint8Array | ArrayBuffer | string,
    headers: HeadersOf,
    { secrets, format = "standard-webhooks", tolerance = 300, maxEventAge, now = new Date() }: VerifyOptions,
): Promise<Received<Data>> {
    const listed = typeof secrets === "string" ? [secrets] : [...secrets];
    // An attacker can sign with an empty key, too.
    if (!listed.length || listed.some((secret) => typeof secret !== "string" || secret === "")) {
        throw new TypeError("verify() requires at least one secret, and none may be empty");
    }
    if (!Object.hasOwn(VERIFIERS, format)) throw new TypeError(`unknown format; use one of ${FORMATS.join(", ")}`);
    if (WITH_CODED_SECRETS.has(format) && !listed.every(keyOf)) {
        throw new TypeError(`a ${format} secret is 'whsec_' followed by base64; copy it exactly as HookHub showed it`);
    }
    // As a tolerance, null or NaN would turn the check off unnoticed.
    for (const [name, span] of Object.entries({ tolerance, ...(maxEventAge !== undefined && { maxEventAge }) })) {
        if (typeof span !== "number" || !(span >= 0)) throw new TypeError(`${name} must be a number of seconds`);
    }
    if (!(now instanceof Date) || Number.isNaN(now.getTime())) throw new TypeError("now must be a valid Date");
    const request = { body: bytesOf(body), headers: read(headers), secrets: listed, tolerance, maxEventAge, now };
    return (await VERIFIERS[format](request)) as Received<Data>;
}

async function inEnvelope(request: Request, typeIn: string, needs: readonly string[]): Promise<Received> {
    const signed = await verifyStandard(request);
    const body = envelope(request.body, typeIn, needs);
    return { type: body[typeIn] as string, ...signed, data: body.data };
}

/** Verify `v1,<base64>` signatures over `id.timestamp.body`. */
async function verifyStandard(request: Request): Promise<{ id: string; timestamp: Date }> {
    const id = header(request, "webhook-id");
    const sent = header(request, "webhook-timestamp");
    const claimed = header(request, "webhook-signature")
        .split(/[ \t\r\n]+/)
        .filter((each) => each.startsWith("v1,"))
        .slice(0, MAX_SIGNATURES)
        .map((each) => fromBase64(each.slice("v1,".length)));
    const content = concat(encode(`${id}.${sent}.`), request.body);
    await demandMatch(request.secrets.map(keyOf), claimed, content);
    const timestamp = seconds(sent);
    if (!timestamp)
        throw new VerificationFailed("The webhook-timestamp header is not a Unix timestamp.", "malformed_header");
    const age = (request.now.getTime() - timestamp.getTime()) / 1000;
    if (request.tolerance && Math.abs(age) > request.tolerance) {
        const when = age > 0 ? "ago" : "in the future";
        const message = `The signature is valid, but the request was signed ${Math.abs(age).toFixed(0)} seconds ${when}.`;
        throw new VerificationFailed(message, "wrong_time");
    }
    return { id, timestamp };
}

/** Verify `t=<seconds>,sha256=<hex>` over `t.body`, with the messages of Code Storage's SDKs. */
async function verifyCodeStorage(request: Request): Promise<Received> {
    const signature = header(request, "x-pierre-signature");
    const type = header(request, "x-pierre-event");
    // The parts may come in any order, without blanks. Of a repeated part the last one counts.
    const parts = new Map(
        signature.split(",").map((part) => {
            const at = part.indexOf("=");
            return at < 0 ? ["", ""] : [part.slice(0, at), part.slice(at + 1)];
        }),
    );
    const [sent, claimed] = [parts.get("t"), parts.get("sha256")];
    if (!sent || !claimed) throw new VerificationFailed("Invalid signature header format", "malformed_header");
    const timestamp = seconds(sent);
    if (!timestamp) throw new VerificationFailed("Invalid timestamp in signature", "malformed_header");
    // Whole seconds, the resolution of the header's timestamp.
    const age = Math.floor(request.now.getTime() / 1000) - timestamp.getTime() / 1000;
    if (request.tolerance && age > request.tolerance) {
        throw new VerificationFailed(`Webhook timestamp too old (${age} seconds)`, "wrong_time");
    }
    if (request.tolerance && age < -MAX_CLOCK_SKEW) {
        throw new VerificationFailed("Webhook timestamp is in the future", "wrong_time");
    }
    await demandMatch(request.secrets.map(encode), [fromHex(claimed)], concat(encode(`${sent}.`), request.body));
    return { type, id: null, timestamp, data: json(request.body) };
}

async function verifyHub(request: Request, typeIn: string): Promise<Received> {
    // The legacy X-Hub-Signature (SHA-1) is sent as well and adds no assurance.
    await verifyRawBody(request, "x-hub-signature-256");
    const type = header(request, typeIn);
    // Recognize a form by the signed bytes, since Content-Type is not signed. No JSON starts like this.
    const content = decode(request.body.subarray(0, 8)) === "payload=" ? fromForm(request.body) : request.body;
    if (!content) throw invalidBody('the form has fields besides "payload"');
    return { type, id: null, timestamp: null, data: json(content) };
}

/** Verify `<algorithm>=<hex>` over the raw body; the key is the secret's text. */
async function verifyRawBody(
    request: Request,
    name: string,
    algorithms: readonly string[] = ["sha256"],
): Promise<void> {
    const value = header(request, name);
    const algorithm = algorithms.find((each) => value.startsWith(`${each}=`));
    if (!algorithm) {
        throw new VerificationFailed(
            `The ${name} header must start with '${algorithms.join("=' or '")}='.`,
            "malformed_header",
        );
    }
    const claimed = fromHex(value.slice(algorithm.length + 1));
    await demandMatch(request.secrets.map(encode), [claimed], request.body, `SHA-${algorithm.slice("sha".length)}`);
}

async function demandMatch(
    keys: readonly (Uint8Array | null)[],
    claimed: readonly (Uint8Array | null)[],
    content: Uint8Array,
    hash = "SHA-256",
): Promise<void> {
    const { subtle } = await webCrypto();
    let matches = false;
    for (const key of keys) {
        if (!key) continue;
        const imported = await subtle.importKey("raw", buffer(key), { name: "HMAC", hash }, false, ["verify"]);
        for (const signature of claimed) {
            // `verify` takes the same time for every signature of the right length.
            if (signature && (await subtle.verify("HMAC", imported, buffer(signature), buffer(content))))
                matches = true;
        }
    }
    if (!matches) {
        const message = "No signature matches: the secret is wrong, or the body was modified after it was signed.";
        throw new VerificationFailed(message, "wrong_signature");
    }
}

function header(request: Request, name: string): string {
    const values = request.headers.get(name) ?? [];
    if (values.length > 1) throw new VerificationFailed(`The ${name} header is repeated.`, "malformed_header");
    const value = trimmed(values[0] ?? "");
    if (!value) throw new VerificationFailed(`The ${name} header is missing or empty.`, "missing_header");
    if (value.length > MAX_HEADER_LENGTH) {
        throw new VerificationFailed(
            `The ${name} header is longer than ${MAX_HEADER_LENGTH} characters.`,
            "malformed_header",
        );
    }
    return value;
}

/** Return a header's value without the blanks around it; what other white space there is differs between languages. */
function trimmed(value: string): string {
    let [start, end] = [0, value.length];
    while (start < end && BLANKS.includes(value.charAt(start))) start++;
    while (start < end && BLANKS.includes(value.charAt(end - 1))) end--;
    return value.slice(start, end);
}

function read(headers: HeadersOf): Map<string, readonly string[]> {
    const found = new Map<string, readonly string[]>();
    const pairs =
        Symbol.iterator in headers ? (headers as Iterable<readonly [string, string]>) : Object.entries(headers);
    for (const [name, value] of pairs) {
        if (value === undefined || value === null) continue;
        const key = name.toLowerCase();
        found.set(key, [...(found.get(key) ?? []), ...(Array.isArray(value) ? value : [value]).map(String)]);
    }
    return found;
}

function eventTime(request: Request, value: unknown): Date {
    const moment = typeof value === "string" ? rfc3339(value) : null;
    if (!moment) throw invalidBody('"timestamp" in the body is not an RFC 3339 time');
    const age = (request.now.getTime() - moment.getTime()) / 1000;
    if (request.maxEventAge !== undefined && !(-request.tolerance <= age && age <= request.maxEventAge)) {
        const message = `The signature is valid, but the event's time ${moment.toISOString()} is too old or in the future.`;
        throw new VerificationFailed(message, "wrong_time");
    }
    return moment;
}

function keyOf(secret: string): Uint8Array | null {
    const text = secret.replace(/^whsec_/, "").replace(/=+$/, "");
    const key = fromBase64(text + "=".repeat((4 - (text.length % 4)) % 4));
    return key?.length ? key : null;
}
