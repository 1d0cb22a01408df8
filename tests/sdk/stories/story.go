// The story in Go.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"time"

	hookhub "github.com/hookhub/hookhub/sdk/go"
)

type webhookRequest struct {
	body   []byte
	header http.Header
}

func main() {
	log.SetFlags(log.Lshortfile)
	ctx, cancel := context.WithTimeout(context.Background(), 170*time.Second)
	defer cancel()
	story := os.Getenv("STORY")
	paid := story + ".paid"
	told := map[string]any{}
	got := make(chan webhookRequest, 100)
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		check(err)
		got <- webhookRequest{body, r.Header}
		w.WriteHeader(http.StatusNoContent)
	}))

	client, err := hookhub.New(os.Getenv("HOOKHUB_URL"), os.Getenv("HOOKHUB_API_KEY"))
	check(err)
	webhook, err := client.Webhooks.Create(ctx, hookhub.NewWebhook{URL: receiver.URL, Events: []string{paid}})
	check(err)
	var replayed []bool
	for range 2 {
		receipt, err := client.Publish(ctx, hookhub.NewEvent{Type: paid, Data: map[string]int{"id": 42}, ID: story + "-42"})
		check(err)
		replayed = append(replayed, receipt.Replayed)
	}
	told["replayed"] = replayed

	first := <-got
	received, err := hookhub.Verify(first.body, first.header, hookhub.VerifyOptions{Secrets: []string{webhook.Secret}})
	check(err)
	told["received"] = []any{received.Type, received.Data}

	var batch []hookhub.NewEvent
	for n := range 5 {
		batch = append(batch, hookhub.NewEvent{Type: paid, Data: map[string]int{"id": n}})
	}
	receipts, err := client.PublishBatch(ctx, batch)
	check(err)
	told["batch"] = len(receipts)
	states, delivered := map[string]hookhub.DeliveryState{}, 0
	for delivered != 6 {
		delivered = 0
		for delivery, err := range client.Deliveries.List(ctx, hookhub.DeliveriesFilter{Webhook: webhook.ID, Limit: 2}) {
			check(err)
			states[delivery.ID] = delivery.State
			if delivery.State == hookhub.DeliveryStateDelivered {
				delivered++
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	_, isKnown := states[received.ID]
	told["delivered"], told["is the delivery"] = delivered, isKnown

	_, err = client.Publish(ctx, hookhub.NewEvent{Type: "not a type", Data: struct{}{}})
	failed := failure(err)
	told["error"] = []any{failed.Status, failed.Code, failed.Fields[0].Field}

	receipt, err := client.Publish(ctx, hookhub.NewEvent{Type: paid, Data: map[string]string{"throttle": story}})
	check(err)
	told["throttled"] = receipt.Type

	queue, err := client.Webhooks.Create(ctx, hookhub.NewWebhook{Kind: "poll", Events: []string{story + ".polled"}})
	check(err)
	trace := map[string]string{"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
	_, err = client.Publish(ctx, hookhub.NewEvent{Type: story + ".polled", Data: map[string]int{"id": 43}, Trace: trace})
	check(err)
	page, err := client.Webhooks.Poll(ctx, queue.ID, hookhub.WebhooksPollFilter{Consumer: "story", Wait: 20})
	check(err)
	header := http.Header{}
	for name, value := range page.Events[0].Headers {
		header.Set(name, value)
	}
	polled, err := hookhub.Verify(
		[]byte(*page.Events[0].Body), header, hookhub.VerifyOptions{Secrets: []string{queue.Secret}},
	)
	check(err)
	_, err = client.Webhooks.Commit(ctx, queue.ID, "story", page.Cursor)
	check(err)
	behind := []int{}
	consumers, err := client.Webhooks.Consumers(ctx, queue.ID)
	check(err)
	for _, consumer := range consumers {
		behind = append(behind, consumer.Behind)
	}
	told["trace"] = page.Events[0].Headers["traceparent"]
	told["polled"] = []any{polled.Data, behind}
	check(client.Webhooks.Delete(ctx, queue.ID))

	key, err := client.APIKeys.Create(ctx, hookhub.NewAPIKey{Scope: "publish", Name: story})
	check(err)
	other, err := hookhub.New(os.Getenv("HOOKHUB_URL"), key.Key, hookhub.WithRetries(0))
	check(err)
	_, err = other.Publish(ctx, hookhub.NewEvent{Type: paid})
	check(err)
	check(client.APIKeys.Revoke(ctx, key.ID))
	_, err = other.Publish(ctx, hookhub.NewEvent{Type: paid})
	told["revoked"] = failure(err).Status

	check(client.Webhooks.Delete(ctx, webhook.ID))
	_, err = client.Webhooks.Get(ctx, webhook.ID)
	told["deleted"] = failure(err).Status

	written, err := json.Marshal(told)
	check(err)
	fmt.Println(string(written))
}

func failure(err error) *hookhub.Error {
	var failed *hookhub.Error
	if !errors.As(err, &failed) {
		log.Panicf("not an error of HookHub: %v", err)
	}
	return failed
}

func check(err error) {
	if err != nil {
		log.Panic(err)
	}
}
