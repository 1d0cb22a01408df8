import { HookHubError, rejection } from "./errors.js";
import { type Answer, parsed } from "./reading.js";
import { Resource } from "./resource.js";
import { pathOf } from "./transport.js";
import type * as t from "./types.js";

/** `hookhub.webhooks`; `webhook` is a webhook's id. */
export class Webhooks extends Resource {
    /** Create a webhook; `secret` is in this response and cannot be read later. Not repeated after a timeout. */
    create(webhook: t.NewWebhook): Promise<t.WebhookWithSecret> {
        return this.transport.json("POST", "webhooks", { body: webhook });
    }

    /** Yield all webhooks that match every given filter, fetching pages as needed. */
    list(query: t.Query<"webhooks_list"> = {}): AsyncGenerator<t.Webhook, void, undefined> {
        return this.transport.pages("webhooks", query);
    }

    get(webhook: string): Promise<t.Webhook> {
        return this.transport.json("GET", pathOf("webhooks", webhook));
    }

    /** Set the given fields; a new URL gives the webhook a new `secret`, which is in this response only. */
    update(webhook: string, changes: t.WebhookChanges): Promise<t.ChangedWebhook> {
        return this.transport.json("PATCH", pathOf("webhooks", webhook), { body: changes });
    }

    /** Set or remove (null) some of the custom headers, and keep the others. */
    updateHeaders(webhook: string, headers: Record<string, string | null>): Promise<t.Webhook> {
        return this.transport.json("PATCH", pathOf("webhooks", webhook, "headers"), { body: { headers } });
    }

    /** Delete a webhook and cancel its unfinished deliveries. */
    async delete(webhook: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("webhooks", webhook), { doneStatus: 404 });
    }

    /** Enable a disabled webhook; `release_held` also sends the deliveries held while it was disabled. */
    enable(webhook: string, { release_held = false }: { release_held?: boolean } = {}): Promise<t.EnabledWebhook> {
        const path = pathOf("webhooks", webhook, "enable");
        return this.transport.json("POST", path, { body: { release_held }, repeatable: true });
    }

    /** Disable a webhook; its pending deliveries are held. */
    disable(webhook: string): Promise<t.DisabledWebhook> {
        return this.transport.json("POST", pathOf("webhooks", webhook, "disable"), { repeatable: true });
    }

    /** Replace the secret, which is in this response only; the old one signs as well until the overlap ends. */
    rotateSecret(webhook: string, rotation: t.SecretRotation = {}): Promise<t.WebhookWithSecret> {
        return this.transport.json("POST", pathOf("webhooks", webhook, "rotate-secret"), { body: rotation });
    }

    /** Start to verify the webhook's URL. */
    verify(webhook: string): Promise<t.Webhook> {
        return this.transport.json("POST", pathOf("webhooks", webhook, "verify"), { repeatable: true });
    }

    /** Send a `ping` event to the webhook. */
    ping(webhook: string): Promise<t.Delivery> {
        return this.transport.json("POST", pathOf("webhooks", webhook, "ping"));
    }

    /** Send a test event to the webhook only; by default an example of a type that it gets. */
    test(webhook: string, event: t.TestEvent = {}): Promise<t.Delivery> {
        return this.transport.json("POST", pathOf("webhooks", webhook, "test"), { body: event });
    }

    /** Return deliveries by state, success rate and latencies, of the last day by default. */
    stats(webhook: string, query: t.Query<"webhooks_stats_retrieve"> = {}): Promise<t.WebhookStats> {
        return this.transport.json("GET", pathOf("webhooks", webhook, "stats"), { query });
    }

    timeseries(webhook: string, query: t.Query<"webhooks_timeseries_retrieve"> = {}): Promise<t.Timeseries> {
        return this.transport.json("GET", pathOf("webhooks", webhook, "timeseries"), { query });
    }

    /** Count the events of a period that the webhook matches and never got. */
    countMissing(webhook: string, query: t.Query<"webhooks_replay_missing_retrieve">): Promise<t.MissingCount> {
        return this.transport.json("GET", pathOf("webhooks", webhook, "replay-missing"), { query });
    }

    /** Deliver the events of a period that the webhook matches and never got. */
    replayMissing(webhook: string, period: t.NewMissingReplay): Promise<t.Replay> {
        return this.transport.json("POST", pathOf("webhooks", webhook, "replay-missing"), { body: period });
    }

    /**
     * Fetch the next events of a polling webhook, and the cursor after them.
     *
     * They come after what `consumer` has committed, or after `cursor`, which may be `latest`. If there is none, the API
     * waits for one, `wait` seconds (30 at most). Fetching commits nothing: call `commit` once they are processed.
     */
    poll(webhook: string, query: t.PollQuery = {}): Promise<t.Poll> {
        return this.transport.json("GET", pathOf("webhooks", webhook, "poll"), {
            query,
            waits: (query.wait ?? 0) * 1000,
        });
    }

    /** Record that a consumer has processed the events of a polling webhook up to a cursor. */
    commit(webhook: string, consumer: string, cursor: string): Promise<t.PollConsumer> {
        return this.transport.json("PUT", pathOf("webhooks", webhook, "consumers", consumer), { body: { cursor } });
    }

    /** Return the consumers of a polling webhook. */
    consumers(webhook: string): Promise<t.PollConsumer[]> {
        const path = pathOf("webhooks", webhook, "consumers");
        return this.transport.rows(path, "consumers");
    }

    /** Delete a consumer and its position. */
    async deleteConsumer(webhook: string, consumer: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("webhooks", webhook, "consumers", consumer), { doneStatus: 404 });
    }
}

/** `hookhub.events`: the events that were published; to publish, use `hookhub.publish`. */
export class Events extends Resource {
    list(query: t.Query<"events_list"> = {}): AsyncGenerator<t.Event, void, undefined> {
        return this.transport.pages("events", query);
    }

    /** Return an event with its data and its deliveries; `event` is its id at HookHub. */
    get(event: string): Promise<t.EventDetail> {
        return this.transport.json("GET", pathOf("events", event));
    }
}

/** `hookhub.deliveries`; `delivery` is a delivery's id, the same on every attempt and redelivery. */
export class Deliveries extends Resource {
    /** Yield the deliveries that match every given filter, newest first, fetching pages as needed. */
    list(query: t.Query<"deliveries_list"> = {}): AsyncGenerator<t.Delivery, void, undefined> {
        return this.transport.pages("deliveries", query);
    }

    /** Return one delivery with all its attempts. */
    get(delivery: string): Promise<t.DeliveryDetail> {
        return this.transport.json("GET", pathOf("deliveries", delivery));
    }

    /** Make a delivery due at once, with its retry schedule restarted. Not repeated after a timeout. */
    redeliver(delivery: string): Promise<t.Delivery> {
        return this.transport.json("POST", pathOf("deliveries", delivery, "redeliver"));
    }

    /** Cancel a pending or held delivery; if a first response was lost, 409 counts as success for one that is cancelled. */
    async cancel(delivery: string): Promise<t.Delivery> {
        const path = pathOf("deliveries", delivery, "cancel");
        const answer = await this.transport.call("POST", path, { repeatable: true, doneStatus: 409 });
        if (answer.response.ok) return parsed(answer);
        return this.#cancelledBefore(delivery, answer);
    }

    async #cancelledBefore(delivery: string, { response, body }: Answer): Promise<t.Delivery> {
        const found = await this.get(delivery);
        if (found.state !== "cancelled") throw rejection(response, body);
        return found;
    }
}

/** `hookhub.replays`: jobs that redeliver in the background. */
export class Replays extends Resource {
    /** Redeliver the deliveries listed by id, or those that match every given filter. Not repeated after a timeout. */
    create(selection: t.NewReplay): Promise<t.Replay> {
        return this.transport.json("POST", "replays", { body: selection });
    }

    list(query: t.Query<"replays_list"> = {}): AsyncGenerator<t.Replay, void, undefined> {
        return this.transport.pages("replays", query);
    }

    get(replay: string): Promise<t.Replay> {
        return this.transport.json("GET", pathOf("replays", replay));
    }

    /** End a job; what it has redelivered stays so. */
    cancel(replay: string): Promise<t.Replay> {
        return this.transport.json("POST", pathOf("replays", replay, "cancel"), { repeatable: true });
    }

    /** Poll a job every second, and return it when it has finished; it goes on at the server after the timeout (ms). */
    async wait(replay: string, { timeout = 300_000, every = 1_000 } = {}): Promise<t.Replay> {
        const until = Date.now() + timeout;
        for (;;) {
            const seen = await this.get(replay);
            if (seen.finished_at) return seen;
            if (Date.now() > until) {
                throw new HookHubError(`replay ${replay} is still running after ${timeout} ms`, { code: "unfinished" });
            }
            await new Promise((resolve) => setTimeout(resolve, every));
        }
    }
}
