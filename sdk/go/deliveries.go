package hookhub

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"time"
)

// Events is client.Events: the events that were published. To publish, use client.Publish.
type Events struct{ c *Client }

// List yields the events that match every given filter, newest first, and fetches pages as they are needed.
func (r Events) List(ctx context.Context, filter EventsFilter) iter.Seq2[*Event, error] {
	return pages[Event](ctx, r.c, "events", filter.values())
}

// Get returns an event with its data and its deliveries, by its id at HookHub.
func (r Events) Get(ctx context.Context, event string) (*EventDetail, error) {
	return get[EventDetail](ctx, r.c, nil, "events", event)
}

// Deliveries is client.Deliveries. The id of a delivery is the same on every attempt and redelivery.
type Deliveries struct{ c *Client }

// List yields the deliveries that match every given filter, newest first, and fetches pages as they are needed.
func (r Deliveries) List(ctx context.Context, filter DeliveriesFilter) iter.Seq2[*Delivery, error] {
	return pages[Delivery](ctx, r.c, "deliveries", filter.values())
}

// Get returns one delivery with all its attempts.
func (r Deliveries) Get(ctx context.Context, delivery string) (*DeliveryDetail, error) {
	return get[DeliveryDetail](ctx, r.c, nil, "deliveries", delivery)
}

// Redeliver makes a delivery due at once, with its retry schedule restarted. Not repeated after a timeout.
func (r Deliveries) Redeliver(ctx context.Context, delivery string) (*Delivery, error) {
	return post[Delivery](ctx, r.c, nil, "deliveries", delivery, "redeliver")
}

// Cancel cancels a pending or held delivery. If a first response was lost, 409 counts as success for one that is
// cancelled.
func (r Deliveries) Cancel(ctx context.Context, delivery string) (*Delivery, error) {
	asked := call{
		method: http.MethodPost, path: path("deliveries", delivery, "cancel"), repeatable: true, doneStatus: http.StatusConflict,
	}
	found, err := r.c.do(ctx, asked)
	if err != nil {
		return nil, err
	}
	if found.StatusCode == http.StatusConflict {
		seen, err := r.Get(ctx, delivery)
		if err != nil {
			return nil, err
		}
		if seen.State != DeliveryStateCancelled {
			return nil, rejection(found.Response, found.body)
		}
		return &seen.Delivery, nil
	}
	return decode[Delivery](found)
}

// Replays is client.Replays: jobs that redeliver in the background.
type Replays struct{ c *Client }

// Create redelivers the deliveries listed by id, or those that match every given filter. Not repeated after a
// timeout.
func (r Replays) Create(ctx context.Context, selection NewReplay) (*Replay, error) {
	return post[Replay](ctx, r.c, selection, "replays")
}

// List yields the jobs, newest first, and fetches pages as they are needed.
func (r Replays) List(ctx context.Context, filter ReplaysFilter) iter.Seq2[*Replay, error] {
	return pages[Replay](ctx, r.c, "replays", filter.values())
}

// Get returns one job.
func (r Replays) Get(ctx context.Context, replay string) (*Replay, error) {
	return get[Replay](ctx, r.c, nil, "replays", replay)
}

// Cancel ends a job; what it has redelivered stays so.
func (r Replays) Cancel(ctx context.Context, replay string) (*Replay, error) {
	return postAgain[Replay](ctx, r.c, nil, "replays", replay, "cancel")
}

// Wait polls a job until it has finished or the context ends; the job goes on at the server.
func (r Replays) Wait(ctx context.Context, replay string, every time.Duration) (*Replay, error) {
	for {
		seen, err := r.Get(ctx, replay)
		if err != nil || seen.FinishedAt != nil {
			return seen, err
		}
		if err := r.c.sleep(ctx, every); err != nil {
			return nil, fmt.Errorf("replay %s is still running: %w", replay, err)
		}
	}
}
