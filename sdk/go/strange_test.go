package hookhub

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestAnswersThatTheAPIDoesNotSendAreErrors(t *testing.T) {
	calls := map[string]func(context.Context, *Client) error{
		"pages": func(ctx context.Context, c *Client) (last error) {
			for row, err := range c.Webhooks.List(ctx, WebhooksFilter{}) {
				if last = err; row == nil && err == nil {
					t.Error("a row is nil")
				}
			}
			return last
		},
		"event types": func(ctx context.Context, c *Client) error {
			_, err := c.EventTypes.List(ctx, EventTypesFilter{})
			return err
		},
		"consumers": func(ctx context.Context, c *Client) error { _, err := c.Webhooks.Consumers(ctx, "w"); return err },
		"publish":   func(ctx context.Context, c *Client) error { _, err := c.Publish(ctx, NewEvent{Type: "a"}); return err },
		"cancel":    func(ctx context.Context, c *Client) error { _, err := c.Deliveries.Cancel(ctx, "d"); return err },
	}
	strange := []string{"null", "[]", "", "<html>"}
	for _, rows := range []string{"7", "[null]", "null"} {
		strange = append(strange, strings.ReplaceAll(`{"results":R,"consumers":R,"events":R,"id":7}`, "R", rows))
	}
	for name, call := range calls {
		for _, text := range strange {
			hub, client := start(t, WithRetries(0))
			hub.replies = []reply{{200, text, nil}}
			var failed *Error
			if err := call(t.Context(), client); !errors.As(err, &failed) || failed.Code != "not_hookhub" {
				t.Errorf("%s of %s: got %v", name, text, err)
			}
		}
	}
}

func TestWhiteSpaceAroundAnAddressIsNoneOfIt(t *testing.T) {
	for _, space := range []string{"\n", "\r\n", " ", "\t"} {
		client, err := New(" https://hooks.example/v1/"+space, "hh_1")
		if err != nil || client.base != "https://hooks.example/v1" {
			t.Errorf("%q: got %v", space, err)
		}
	}
	for _, end := range []string{"?", "#", "/?", "/v1\n/a", " b"} {
		if _, err := New("https://hooks.example"+end, "hh_1"); err == nil {
			t.Errorf("%q is no end of an address", end)
		}
	}
}
