import { webCrypto } from "./crypto.js";
import { HookHubError, notHookHub } from "./errors.js";
import {
    AlertChannels,
    Alerts,
    ApiKeys,
    AuditLog,
    EventTypes,
    Organizations,
    PortalSessions,
    Repositories,
} from "./administration.js";
import { Deliveries, Events, Replays, Webhooks } from "./deliveries.js";
import { parsed, rowsOf } from "./reading.js";
import { type Options, Transport } from "./transport.js";
import type { Meta, NewEvent, Receipt, Validated } from "./types.js";

const MAX_BATCH_EVENTS = 1_000;
// The API's limit for one event. A request must arrive within ten seconds, and the uplink may be slow.
const MAX_BATCH_BYTES = 1 << 20;

/**
 * A HookHub and one API key.
 *
 *     const hookhub = new HookHub({ url: "https://hooks.example.org", apiKey: "hh_…" });
 *     await hookhub.publish("order.paid", { id: 42 });
 *
 * Requests are repeated with exponential backoff when the connection fails or the API answers 429, 502, 503 or 504, and
 * when repeating them is safe. Publishing is safe to repeat, because every event has an idempotency key. What fails
 * rejects with `HookHubError`.
 */
export class HookHub {
    readonly alertChannels: AlertChannels;
    readonly alerts: Alerts;
    readonly apiKeys: ApiKeys;
    readonly auditLog: AuditLog;
    readonly deliveries: Deliveries;
    readonly eventTypes: EventTypes;
    readonly events: Events;
    readonly organizations: Organizations;
    readonly portalSessions: PortalSessions;
    readonly replays: Replays;
    readonly repositories: Repositories;
    readonly webhooks: Webhooks;
    readonly #transport: Transport;

    constructor(options: Options) {
        this.#transport = new Transport(options);
        this.alertChannels = new AlertChannels(this.#transport);
        this.alerts = new Alerts(this.#transport);
        this.apiKeys = new ApiKeys(this.#transport);
        this.auditLog = new AuditLog(this.#transport);
        this.deliveries = new Deliveries(this.#transport);
        this.eventTypes = new EventTypes(this.#transport);
        this.events = new Events(this.#transport);
        this.organizations = new Organizations(this.#transport);
        this.portalSessions = new PortalSessions(this.#transport);
        this.replays = new Replays(this.#transport);
        this.repositories = new Repositories(this.#transport);
        this.webhooks = new Webhooks(this.#transport);
    }

    /**
     * Publish one event and return its receipt; from then on HookHub guarantees its delivery.
     *
     * Pass your own `id` to be able to publish again safely after an error: a generated one is different on every call.
     */
    async publish(
        type: string,
        data: unknown,
        more: Omit<NewEvent, "type" | "data"> & { signal?: AbortSignal } = {},
    ): Promise<Receipt> {
        const { signal, ...fields } = more;
        const [receipt] = await this.publishBatch([{ type, data, ...fields }], { signal });
        return receipt!;
    }

    /**
     * Publish events in batches and return their receipts in the same order.
     *
     * `events` may be a generator of any length; a request holds up to 1,000 events or 1 MiB, and is accepted as a whole or
     * not at all. The error has the receipts of the preceding requests in `published`. Repeating the whole call is safe
     * only when the events have ids of their own.
     */
    async publishBatch(
        events: Iterable<NewEvent> | AsyncIterable<NewEvent>,
        { signal }: { signal?: AbortSignal | undefined } = {},
    ): Promise<Receipt[]> {
        const published: Receipt[] = [];
        for await (const lines of batches(events)) {
            try {
                published.push(...(await this.#publish(lines, signal)));
            } catch (error) {
                if (error instanceof HookHubError) error.published = published;
                throw error;
            }
        }
        return published;
    }

    /** Check what publishing up to 1,000 events would do, and publish nothing. */
    validate(events: readonly NewEvent[]): Promise<Validated> {
        return this.#transport.json("POST", "events/validate", { lines: events.map(lineOf), repeatable: true });
    }

    /** Return the deployment's version, formats, limits and the addresses from which it sends. */
    meta(): Promise<Meta> {
        return this.#transport.json("GET", "meta");
    }

    async #publish(lines: readonly string[], signal: AbortSignal | undefined): Promise<Receipt[]> {
        const answer = await this.#transport.call("POST", "events", { lines, repeatable: true, signal });
        const replayed = answer.response.headers.get("idempotent-replayed") === "true";
        const events = rowsOf<Receipt>(parsed<{ events?: unknown }>(answer).events, answer);
        if (events.length !== lines.length || events.some(({ id }) => typeof id !== "string")) {
            throw notHookHub(answer.response, answer.body);
        }
        return events.map((event) => ({ ...event, replayed }));
    }
}

async function* batches(events: Iterable<NewEvent> | AsyncIterable<NewEvent>): AsyncGenerator<string[]> {
    let lines: string[] = [];
    let size = 0;
    for await (const event of events) {
        const line = lineOf({ ...event, id: event.id ?? (await newId()) });
        // With the line break that separates it from the next.
        const length = new TextEncoder().encode(line).length + 1;
        if (lines.length && (lines.length === MAX_BATCH_EVENTS || size + length > MAX_BATCH_BYTES)) {
            yield lines;
            [lines, size] = [[], 0];
        }
        lines.push(line);
        size += length;
    }
    if (lines.length) yield lines;
}

function lineOf(event: NewEvent): string {
    const data = JSON.stringify(event.data);
    if (data === undefined) throw new TypeError("data must be a JSON value, such as an object; use null for none");
    const { type, id, repository, timestamp, organization, trace } = event;
    // JSON would have null, which is the time of acceptance.
    if (timestamp instanceof Date && Number.isNaN(timestamp.getTime())) throw new TypeError("timestamp is no valid Date");
    return JSON.stringify({ type, data: event.data, id, repository, timestamp, organization, trace });
}

async function newId(): Promise<string> {
    return (await webCrypto()).randomUUID();
}
