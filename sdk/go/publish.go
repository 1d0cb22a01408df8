package hookhub

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"slices"
	"time"
)

const (
	maxBatchEvents = 1000
	// The API's limit for one event. A request must arrive within ten seconds, and the uplink may be slow.
	maxBatchBytes = 1 << 20
)

// NewEvent is an event to publish.
type NewEvent struct {
	// Type is a dotted name such as issues.opened.
	Type string `json:"type"`
	// Data is any value that json.Marshal takes, up to 1 MiB of JSON unless the server is configured otherwise.
	Data any `json:"data"`
	// ID is the idempotency key, unique within the organization; without one the client generates it.
	ID string `json:"id,omitempty"`
	// Repository is widgets or acme/widgets.
	Repository string `json:"repository,omitempty"`
	// Timestamp says when the event happened; the default is the time of acceptance.
	Timestamp time.Time `json:"timestamp,omitzero"`
	// Organization is a slug; for operators' keys only.
	Organization string `json:"organization,omitempty"`
	// Trace has traceparent and tracestate, as OpenTelemetry's propagation.MapCarrier does; receivers are sent them.
	Trace map[string]string `json:"trace,omitempty"`
}

// Receipt says that HookHub has stored an event and will deliver it.
type Receipt struct {
	// ID is the event's id at HookHub, not the idempotency key.
	ID         string    `json:"id"`
	Type       string    `json:"type"`
	AcceptedAt time.Time `json:"accepted_at"`
	// Replayed reports whether every event of the request had been published before, so that nothing new was stored.
	Replayed bool `json:"-"`
}

// Publish publishes one event and returns its receipt; from then on HookHub guarantees its delivery.
//
// Set the event's ID to be able to publish again safely after an error: a generated one is different on every call.
func (c *Client) Publish(ctx context.Context, event NewEvent) (*Receipt, error) {
	receipts, err := c.PublishBatch(ctx, []NewEvent{event})
	if err != nil {
		return nil, err
	}
	return &receipts[0], nil
}

// PublishBatch publishes events in batches and returns their receipts in the same order; see PublishAll.
func (c *Client) PublishBatch(ctx context.Context, events []NewEvent) ([]Receipt, error) {
	return c.PublishAll(ctx, slices.Values(events))
}

// PublishAll publishes any number of events and returns their receipts in the same order.
//
// A request holds up to 1,000 events or 1 MiB, and is accepted as a whole or not at all. An *Error has the receipts of the
// preceding requests in Published; they are returned with any error. Repeating the whole call is safe only when the
// events have IDs of their own.
func (c *Client) PublishAll(ctx context.Context, events iter.Seq[NewEvent]) ([]Receipt, error) {
	var published []Receipt
	var lines [][]byte
	size := 0
	send := func() error {
		receipts, err := c.publish(ctx, lines)
		var failed *Error
		if errors.As(err, &failed) {
			failed.Published = published
		}
		published = append(published, receipts...)
		lines, size = nil, 0
		return err
	}
	for event := range events {
		if event.ID == "" {
			event.ID = rand.Text()
		}
		line, err := encode(event)
		if err != nil {
			return published, fmt.Errorf("the data of event %d: %w", len(published)+len(lines), err)
		}
		// With the line break that separates it from the next.
		if len(lines) > 0 && (len(lines) == maxBatchEvents || size+len(line)+1 > maxBatchBytes) {
			if err := send(); err != nil {
				return published, err
			}
		}
		lines = append(lines, line)
		size += len(line) + 1
	}
	if len(lines) > 0 {
		if err := send(); err != nil {
			return published, err
		}
	}
	return published, nil
}

// Validate checks what publishing up to 1,000 events would do, and publishes nothing.
func (c *Client) Validate(ctx context.Context, events []NewEvent) (*Validated, error) {
	lines := [][]byte{}
	for _, event := range events {
		line, err := encode(event)
		if err != nil {
			return nil, err
		}
		lines = append(lines, line)
	}
	return one[Validated](ctx, c, call{method: http.MethodPost, path: "events/validate", lines: lines, repeatable: true})
}

func (c *Client) publish(ctx context.Context, lines [][]byte) ([]Receipt, error) {
	found, err := c.do(ctx, call{method: http.MethodPost, path: "events", lines: lines, repeatable: true})
	if err != nil {
		return nil, err
	}
	var batch struct {
		Events []Receipt `json:"events"`
	}
	isBad := func(receipt Receipt) bool { return receipt.ID == "" }
	if json.Unmarshal(found.body, &batch) != nil || len(batch.Events) != len(lines) || slices.ContainsFunc(batch.Events, isBad) {
		return nil, notHookHub(found.Response, found.body)
	}
	for at := range batch.Events {
		batch.Events[at].Replayed = found.Header.Get("Idempotent-Replayed") == "true"
	}
	return batch.Events, nil
}
