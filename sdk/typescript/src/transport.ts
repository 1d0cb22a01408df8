import { ConnectionFailed, HookHubError, rejection } from "./errors.js";
import { type Answer, nextOf, parsed, rowsOf, textOf } from "./reading.js";

export interface Options {
    /** The address of HookHub with or without `/v1`, such as `https://hooks.example.org`. */
    url: string;
    apiKey: string;
    /** Milliseconds for one attempt, with its response. Default: 10,000. */
    timeout?: number;
    /** How many times a request may be repeated. Default: 4. */
    retries?: number;
    /** Milliseconds after which no further attempt begins. Default: 120,000. */
    deadline?: number;
    /** The slug of the organization that all requests are about; only operators' keys need it. */
    organization?: string;
    /** Used instead of the global `fetch`. */
    fetch?: typeof fetch;
}

export interface Call {
    query?: Readonly<Record<string, unknown>> | undefined;
    body?: unknown;
    lines?: readonly string[];
    /** Whether repeating the request is safe; it is by its method for all but POST. */
    repeatable?: boolean;
    /** The API's answer to a request that it has carried out before: after an attempt that may have been, it is success. */
    doneStatus?: number;
    /** Milliseconds that the API may let the request wait. */
    waits?: number;
    signal?: AbortSignal | undefined;
}

interface Content {
    type: string;
    text: string;
}

const RETRIED = new Set([429, 502, 503, 504]);
const FIRST_BACKOFF = 500;
const MAX_BACKOFF = 30_000;
// The connection was never established, so that no byte can have reached the server.
const NEVER_ARRIVED = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "UND_ERR_CONNECT_TIMEOUT"]);
// The server's certificate is not valid, or it speaks no TLS that is. A connection that just breaks has other codes.
const TLS = /^(CERT_|ERR_SSL_|ERR_TLS_|DEPTH_ZERO_|SELF_SIGNED_|UNABLE_TO_)/;
// What a timer can wait for; it would not wait at all for more.
const MAX_TIMER = 2 ** 31 - 1;

/** Sends requests to one HookHub, and repeats those that failed where that is safe. */
export class Transport {
    readonly #base: string;
    readonly #apiKey: string;
    readonly #timeout: number;
    readonly #retries: number;
    readonly #deadline: number;
    readonly #organization: string | undefined;
    readonly #fetch: typeof fetch;

    constructor({ url, apiKey, timeout = 10_000, retries = 4, deadline = 120_000, organization, fetch: own }: Options) {
        // What was read from a file ends in a line break.
        const address = trimmed(url);
        // The message does not quote the value: it may hold a password, or be the key if the two were swapped.
        if (!isBaseUrl(address)) {
            throw new TypeError("url must look like https://hooks.example.org, without credentials, query or fragment");
        }
        const key = trimmed(apiKey);
        if (!/^[\x21-\x7e]{1,1000}$/.test(key)) {
            throw new TypeError("apiKey is empty, too long or contains invalid characters; copy it again");
        }
        checkNumbers({ timeout, retries, deadline });
        this.#base = `${address.replace(/\/+$/, "").replace(/\/v1$/, "")}/v1`;
        this.#apiKey = key;
        this.#timeout = timeout;
        this.#retries = retries;
        this.#deadline = deadline;
        this.#organization = organization;
        this.#fetch = own ?? ((...args) => fetch(...args));
    }

    /** Send a request and return the JSON of the response. */
    async json<Result>(method: string, path: string, call: Call = {}): Promise<Result> {
        return parsed<Result>(await this.call(method, path, call));
    }

    /** Send a request and return the objects that the response lists under a name. */
    async rows<Row>(path: string, name: string, call: Call = {}): Promise<Row[]> {
        const answer = await this.call("GET", path, call);
        return rowsOf<Row>(parsed<Record<string, unknown>>(answer)[name], answer);
    }

    /** Yield the results of a paginated list, fetching pages as needed. */
    async *pages<Row>(path: string, query: Readonly<Record<string, unknown>>): AsyncGenerator<Row, void, undefined> {
        let search = searchOf(query);
        for (;;) {
            const answer = await this.call("GET", path + search);
            const page = parsed<{ results?: unknown; next?: unknown }>(answer);
            yield* rowsOf<Row>(page.results, answer);
            const next = nextOf(page.next, search, answer);
            if (next === null) return;
            search = next;
        }
    }

    /** Send a request, repeat it where that is safe, and return the successful response. */
    async call(method: string, path: string, call: Call = {}): Promise<Answer> {
        checkPath(path);
        const { waits = 0 } = call;
        // Before the first attempt: what JSON cannot write is a mistake of the caller.
        const content = contentOf(call);
        const until = Date.now() + this.#deadline + waits;
        // A POST that is not idempotent is repeated only if it certainly had no effect: the connection was not
        // established, or the response was 429.
        const repeatable = call.repeatable ?? method !== "POST";
        let mayBeDone = false;
        for (let attempt = 1; ; attempt++) {
            const pause = (asked: number): number | undefined => {
                const length = Math.max(asked, backoff(attempt, Math.random()));
                // Better an error now, by which the caller can decide, than after a wait that cannot help.
                return attempt > this.#retries || Date.now() + length > until ? undefined : length;
            };
            let wait: number | undefined;
            try {
                const answer = await this.#send(
                    method,
                    path,
                    call,
                    content,
                    Math.min(this.#timeout + waits, until - Date.now()),
                );
                const { status } = answer.response;
                if (answer.response.ok || (mayBeDone && status === call.doneStatus)) return answer;
                const mayRepeat = RETRIED.has(status) && (repeatable || status === 429);
                wait = mayRepeat
                    ? pause(retryAfter(answer.response.headers.get("retry-after"), Date.now()))
                    : undefined;
                if (wait === undefined) throw rejection(answer.response, answer.body);
                mayBeDone ||= status !== 429;
            } catch (error) {
                if (error instanceof HookHubError || call.signal?.aborted) throw error;
                const code = codeOf(error);
                const arrived = !NEVER_ARRIVED.has(code);
                const mayRepeat = !TLS.test(code) && (repeatable || !arrived);
                wait = mayRepeat ? pause(0) : undefined;
                if (wait === undefined) {
                    const tried = attempt > 1 ? ` after ${attempt} attempts` : "";
                    const message = `no response from ${this.#base}${tried}: ${reasonOf(error)}`;
                    throw new ConnectionFailed(message, { code: "connection_failed", cause: error });
                }
                mayBeDone ||= arrived;
            }
            await sleep(wait, call.signal);
        }
    }

    #address(path: string, query: Readonly<Record<string, unknown>> = {}): string {
        const url = new URL(`${this.#base}/${path}${searchOf(query)}`);
        // The path may name one, or the query of a further page.
        const isNamed = /^(organizations|meta)\b/.test(path) || url.searchParams.has("organization");
        if (this.#organization && !isNamed) url.searchParams.set("organization", this.#organization);
        return url.href;
    }

    async #send(
        method: string,
        path: string,
        call: Call,
        content: Content | undefined,
        timeout: number,
    ): Promise<Answer> {
        const cancel = new AbortController();
        const abort = (): void => cancel.abort(call.signal?.reason);
        const timer = setTimeout(
            () => cancel.abort(new Error(`no response within ${timeout} ms`)),
            Math.min(Math.max(timeout, 1), MAX_TIMER),
        );
        call.signal?.addEventListener("abort", abort);
        try {
            call.signal?.throwIfAborted();
            const response = await this.#fetch(this.#address(path, call.query), {
                method,
                headers: {
                    Accept: "application/json",
                    Authorization: `Bearer ${this.#apiKey}`,
                    // Some organizations get another vendor's JSON at the same URLs; this client understands only the native one.
                    "HookHub-Dialect": "native",
                    ...(content && { "Content-Type": content.type }),
                },
                ...(content && { body: content.text }),
                // Following a redirect would turn POST into GET.
                redirect: "manual",
                signal: cancel.signal,
            });
            return { response, body: await textOf(response) };
        } finally {
            clearTimeout(timer);
            call.signal?.removeEventListener("abort", abort);
        }
    }
}

/** Return a setting without the white space around it; one that is missing is empty. */
function trimmed(setting: unknown): string {
    return typeof setting === "string" ? setting.trim() : "";
}

/** Throw a TypeError for a number that is none, as of a setting that is missing: all comparisons with NaN are false. */
function checkNumbers(given: Readonly<Record<string, unknown>>): void {
    for (const [name, value] of Object.entries(given)) {
        if (typeof value !== "number" || !(value >= 0)) throw new TypeError(`${name} must be a number, not negative`);
    }
}

function contentOf({ lines, body }: Call): Content | undefined {
    if (lines) return { type: "application/x-ndjson", text: lines.map((line) => `${line}\n`).join("") };
    return body === undefined ? undefined : { type: "application/json", text: JSON.stringify(body) };
}

/** Return the path of a resource, whose parts stay in their places: `call` refuses a path that has others. */
export function pathOf(...parts: string[]): string {
    return parts.map((part) => encodeURIComponent(part)).join("/");
}

/**
 * Throw a TypeError for a path with a part that would leave its place. Even if encoded, `fetch` and proxies resolve dots:
 * "repositories/.." would be "/v1/". They may merge the slashes around an empty part, too.
 */
function checkPath(path: string): void {
    for (const part of path.split("?")[0]!.split("/")) {
        if (["", ".", ".."].includes(part)) throw new TypeError(`"${part}" is not an id or a name`);
    }
}

/** Return the milliseconds between a failed attempt (from 1) and the next; `jitter` is from 0 to 1. */
export function backoff(attempt: number, jitter: number): number {
    return Math.min(FIRST_BACKOFF * 2 ** (attempt - 1), MAX_BACKOFF) * (0.5 + jitter / 2);
}

/** Return the milliseconds that a Retry-After header asks for (seconds or an HTTP date); 0 if it cannot be parsed. */
export function retryAfter(header: string | null, now: number): number {
    if (!header) return 0;
    if (/^[0-9]+$/.test(header)) return Math.min(Number(header), 1e9) * 1000;
    // Date.parse takes far more than HTTP's dates, and one without a zone, as of C's asctime(), for local time.
    const isDate = /^(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)[a-z]*,? /.test(header);
    const at = isDate ? Date.parse(/ GMT$/.test(header) ? header : `${header} GMT`) : Number.NaN;
    return Number.isNaN(at) ? 0 : Math.max(0, at - now);
}

function isBaseUrl(text: string): boolean {
    try {
        const { protocol, username, password } = new URL(text);
        // URL drops line breaks, and finds no query after a "?" at the end.
        return /^https?:$/.test(protocol) && !(username || password || /[?#\s]/.test(text));
    } catch {
        return false;
    }
}

function searchOf(query: Readonly<Record<string, unknown>>): string {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(query)) {
        if (Array.isArray(value) && value.length === 0) throw new TypeError(`${name} must not be empty`);
        for (const each of Array.isArray(value) ? value : [value]) {
            if (each !== undefined && each !== null)
                search.append(name, each instanceof Date ? each.toISOString() : String(each));
        }
    }
    const text = search.toString();
    return text && `?${text}`;
}

function codeOf(error: unknown): string {
    // fetch() of Node says why it failed in the error's cause, or in the first of several.
    const cause = (error as { cause?: { code?: unknown; errors?: { code?: unknown }[] } }).cause;
    const code = cause?.code ?? cause?.errors?.[0]?.code;
    return typeof code === "string" ? code : "";
}

function reasonOf(error: unknown): string {
    const { message, cause } = error as { message?: string; cause?: { message?: string; code?: string } };
    return cause?.message || cause?.code || message || String(error);
}

function sleep(length: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
        if (signal?.aborted) return reject(signal.reason);
        const end = (): void => {
            clearTimeout(timer);
            reject(signal?.reason);
        };
        const timer = setTimeout(() => {
            signal?.removeEventListener("abort", end);
            resolve();
        }, Math.min(length, MAX_TIMER));
        signal?.addEventListener("abort", end, { once: true });
    });
}
