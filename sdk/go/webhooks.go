package hookhub

import (
	"context"
	"iter"
	"net/http"
	"time"
)

// Webhooks is client.Webhooks. A webhook is named by its id.
type Webhooks struct{ c *Client }

// Create creates a webhook. Its Secret is in this response and cannot be read later. Not repeated after a timeout.
func (r Webhooks) Create(ctx context.Context, webhook NewWebhook) (*WebhookWithSecret, error) {
	return post[WebhookWithSecret](ctx, r.c, webhook, "webhooks")
}

// List yields the webhooks that match every given filter, and fetches pages as they are needed.
func (r Webhooks) List(ctx context.Context, filter WebhooksFilter) iter.Seq2[*Webhook, error] {
	return pages[Webhook](ctx, r.c, "webhooks", filter.values())
}

// Get returns one webhook.
func (r Webhooks) Get(ctx context.Context, webhook string) (*Webhook, error) {
	return get[Webhook](ctx, r.c, nil, "webhooks", webhook)
}

// Update sets the given fields. A new URL replaces the webhook's Secret, which is in this response only.
func (r Webhooks) Update(ctx context.Context, webhook string, changes WebhookChanges) (*ChangedWebhook, error) {
	return patch[ChangedWebhook](ctx, r.c, changes, "webhooks", webhook)
}

// UpdateHeaders sets or removes (nil) some of the custom headers, and keeps the others.
func (r Webhooks) UpdateHeaders(ctx context.Context, webhook string, changes HeaderChanges) (*Webhook, error) {
	return patch[Webhook](ctx, r.c, changes, "webhooks", webhook, "headers")
}

// Delete deletes a webhook and cancels its unfinished deliveries.
func (r Webhooks) Delete(ctx context.Context, webhook string) error {
	return remove(ctx, r.c, "webhooks", webhook)
}

// Enable enables a disabled webhook, and sends the deliveries held meanwhile if asked to.
func (r Webhooks) Enable(ctx context.Context, webhook string, how WebhookEnabling) (*EnabledWebhook, error) {
	return postAgain[EnabledWebhook](ctx, r.c, how, "webhooks", webhook, "enable")
}

// Disable disables a webhook; its pending deliveries are held.
func (r Webhooks) Disable(ctx context.Context, webhook string) (*DisabledWebhook, error) {
	return postAgain[DisabledWebhook](ctx, r.c, nil, "webhooks", webhook, "disable")
}

// RotateSecret replaces the secret, which is in this response only; the old one signs as well until the overlap ends.
func (r Webhooks) RotateSecret(ctx context.Context, webhook string, rotation SecretRotation) (*WebhookWithSecret, error) {
	return post[WebhookWithSecret](ctx, r.c, rotation, "webhooks", webhook, "rotate-secret")
}

// Verify starts to verify the webhook's URL.
func (r Webhooks) Verify(ctx context.Context, webhook string) (*Webhook, error) {
	return postAgain[Webhook](ctx, r.c, nil, "webhooks", webhook, "verify")
}

// Ping sends a ping event to the webhook.
func (r Webhooks) Ping(ctx context.Context, webhook string) (*Delivery, error) {
	return post[Delivery](ctx, r.c, nil, "webhooks", webhook, "ping")
}

// Test sends a test event to the webhook only; by default an example of a type that it gets.
func (r Webhooks) Test(ctx context.Context, webhook string, event TestEvent) (*Delivery, error) {
	return post[Delivery](ctx, r.c, event, "webhooks", webhook, "test")
}

// Stats returns deliveries by state, success rate and latencies, of the last day by default.
func (r Webhooks) Stats(ctx context.Context, webhook string, query WebhooksStatsFilter) (*WebhookStats, error) {
	return get[WebhookStats](ctx, r.c, query.values(), "webhooks", webhook, "stats")
}

// Timeseries returns the statistics by hour or day.
func (r Webhooks) Timeseries(ctx context.Context, webhook string, query WebhooksTimeseriesFilter) (*Timeseries, error) {
	return get[Timeseries](ctx, r.c, query.values(), "webhooks", webhook, "timeseries")
}

// CountMissing counts the events of a period that the webhook matches and never got.
func (r Webhooks) CountMissing(ctx context.Context, webhook string, query WebhooksReplayMissingFilter) (*MissingCount, error) {
	return get[MissingCount](ctx, r.c, query.values(), "webhooks", webhook, "replay-missing")
}

// ReplayMissing delivers the events of a period that the webhook matches and never got.
func (r Webhooks) ReplayMissing(ctx context.Context, webhook string, period NewMissingReplay) (*Replay, error) {
	return post[Replay](ctx, r.c, period, "webhooks", webhook, "replay-missing")
}

// Poll fetches the next events of a polling webhook, and the cursor after them.
//
// They come after what the consumer has committed, or after the cursor, which may be latest. If there is none, the API
// waits for one, Wait seconds (30 at most). Fetching commits nothing: call Commit once they are processed.
func (r Webhooks) Poll(ctx context.Context, webhook string, query WebhooksPollFilter) (*Poll, error) {
	asked := call{method: http.MethodGet, path: path("webhooks", webhook, "poll"), query: query.values()}
	asked.waits = time.Duration(query.Wait) * time.Second
	return one[Poll](ctx, r.c, asked)
}

// Commit records that a consumer has processed the events of a polling webhook up to a cursor.
func (r Webhooks) Commit(ctx context.Context, webhook, consumer, cursor string) (*PollConsumer, error) {
	position := PollConsumerChanges{Cursor: cursor}
	asked := call{method: http.MethodPut, path: path("webhooks", webhook, "consumers", consumer), body: position}
	return one[PollConsumer](ctx, r.c, asked)
}

// Consumers returns the consumers of a polling webhook.
func (r Webhooks) Consumers(ctx context.Context, webhook string) ([]PollConsumer, error) {
	return all[PollConsumer](ctx, r.c, "consumers", nil, "webhooks", webhook, "consumers")
}

// DeleteConsumer deletes a consumer and its position.
func (r Webhooks) DeleteConsumer(ctx context.Context, webhook, consumer string) error {
	return remove(ctx, r.c, "webhooks", webhook, "consumers", consumer)
}
