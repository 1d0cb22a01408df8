// Create a webhook, list webhooks and publish an event with what oapi-codegen generated.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"roundtrip/generated"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	url, key, receiver := os.Args[1], os.Args[2], os.Args[3]
	authorize := func(_ context.Context, request *http.Request) error {
		request.Header.Set("Authorization", "Bearer "+key)
		return nil
	}
	client := must(generated.NewClientWithResponses(url, generated.WithRequestEditorFn(authorize)))
	ctx := context.Background()

	made := must(client.WebhooksCreateWithResponse(ctx, nil, generated.NewWebhook{Url: &receiver, Events: []string{"*"}}))
	page := must(client.WebhooksListWithResponse(ctx, &generated.WebhooksListParams{}))
	repository := "Hello-World"
	var body generated.NewEvents
	event := generated.NewEvent{Type: "push", Data: map[string]int{"n": 1}, Repository: &repository}
	if err := body.FromNewEvent(event); err != nil {
		panic(err)
	}
	published := must(client.EventsCreateWithResponse(ctx, nil, body))
	if made.JSON201 == nil || page.JSON200 == nil || published.JSON202 == nil {
		panic(fmt.Sprintf("%s %s %s", made.Body, page.Body, published.Body))
	}
	receipt := must(published.JSON202.AsReceipt())
	listed := []string{}
	for _, webhook := range page.JSON200.Results {
		listed = append(listed, webhook.Id.String())
	}
	answer := map[string]any{"created": made.JSON201.Id, "listed": listed, "event": receipt.Id}
	fmt.Println(string(must(json.Marshal(answer))))
}
