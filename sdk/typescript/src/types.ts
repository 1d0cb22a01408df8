import type { components, operations } from "./api.js";

type Schemas = components["schemas"];

/** The query of a list, by its operation; pages are fetched as needed, `limit` at a time. */
export type Query<Operation extends keyof operations> = Omit<
    NonNullable<operations[Operation]["parameters"]["query"]>,
    "cursor"
>;

/** What to fetch of a polling webhook. */
export type PollQuery = NonNullable<operations["webhooks_poll_retrieve"]["parameters"]["query"]>;

/** An event to publish. */
export interface NewEvent {
    /** A dotted name such as `issues.opened`. */
    type: string;
    /** Any JSON value, up to 1 MiB of JSON unless the server is configured otherwise. */
    data: unknown;
    /** The idempotency key, unique within the organization; without one the client generates it. */
    id?: string | undefined;
    /** `widgets` or `acme/widgets`. */
    repository?: string | undefined;
    /** When it happened; the default is the time of acceptance. */
    timestamp?: Date | string | undefined;
    /** A slug; for operators' keys only. */
    organization?: string | undefined;
    /** The event's trace, as OpenTelemetry's `propagation.inject` fills an object; receivers are sent it. */
    trace?: { traceparent: string; tracestate?: string | undefined } | undefined;
}

/** HookHub has stored the event and will deliver it; `id` is its id at HookHub, not the idempotency key. */
export type Receipt = Schemas["Receipt"] & {
    /** Whether every event of the request had been published before, so that nothing new was stored. */
    replayed: boolean;
};

export type * from "./schemas.js";
