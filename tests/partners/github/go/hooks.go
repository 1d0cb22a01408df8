// Drive the hooks of a repository through their whole life with go-github.
//
// Its arguments are the server's address, a key and a receiver's address. It writes a line "deliver" and waits for an
// answer wherever deliveries have to be sent, and at its end all that it saw, as one line of JSON.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/google/go-github/v92/github"
)

const (
	owner = "octocat"
	name  = "Hello-World"
	// A key that nobody has.
	stranger = "hh_000000000000_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
)

func must[T any](value T, err error) T {
	check(err)
	return value
}

func found[T any](value T, _ *github.Response, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func connect(url, key string) *github.Client {
	return must(github.NewClient(github.WithAuthToken(key), github.WithEnterpriseURLs(url, url)))
}

func deliver(answers *bufio.Reader) {
	fmt.Println("deliver")
	must(answers.ReadString('\n'))
}

// The status, the message and the fields that an error carries.
func refusal(err error) []any {
	var refused *github.ErrorResponse
	if !errors.As(err, &refused) {
		panic(fmt.Sprintf("not an error of GitHub's: %#v", err))
	}
	fields := []string{}
	for _, fault := range refused.Errors {
		fields = append(fields, fault.Field+" "+fault.Code)
	}
	return []any{refused.Response.StatusCode, refused.Message, fields}
}

func pages(ctx context.Context, hooks *github.RepositoriesService) [][]int64 {
	found := [][]int64{}
	options := &github.ListOptions{PerPage: 2}
	for {
		page, response, err := hooks.ListHooks(ctx, owner, name, options)
		check(err)
		ids := []int64{}
		for _, hook := range page {
			ids = append(ids, hook.GetID())
		}
		found = append(found, ids)
		if response.NextPage == 0 {
			return found
		}
		options.Page = response.NextPage
	}
}

func deliveries(ctx context.Context, hooks *github.RepositoriesService, id int64) []*github.HookDelivery {
	all := []*github.HookDelivery{}
	options := &github.ListCursorOptions{PerPage: 1}
	for {
		page, response, err := hooks.ListHookDeliveries(ctx, owner, name, id, options)
		check(err)
		all = append(all, page...)
		if response.Cursor == "" {
			return all
		}
		options.Cursor = response.Cursor
	}
}

func shown(deliveries []*github.HookDelivery) [][]any {
	rows := [][]any{}
	for _, row := range deliveries {
		rows = append(rows, []any{row.GetEvent(), row.GetStatus(), row.GetStatusCode(), row.GetRedelivery()})
	}
	return rows
}

func main() {
	url, key, receiver := os.Args[1], os.Args[2], os.Args[3]
	answers := bufio.NewReader(os.Stdin)
	ctx := context.Background()
	client := connect(url, key)
	hooks := client.Repositories
	saw := map[string]any{}

	user, response, err := client.Users.Get(ctx, "")
	check(err)
	saw["login"] = user.GetLogin()
	saw["limits"] = []int{found(client.RateLimit.Get(ctx)).Core.Limit, response.Rate.Limit}
	saw["spent"] = response.Rate.Limit - response.Rate.Remaining
	saw["organization"] = found(client.Organizations.Get(ctx, owner)).GetHooksURL()
	repository := found(hooks.Get(ctx, owner, name))
	saw["repository"] = []any{repository.GetFullName(), repository.GetOwner().GetLogin(), repository.GetPermissions().GetAdmin()}

	config := &github.HookConfig{URL: &receiver, ContentType: github.Ptr("json"), Secret: github.Ptr("It's a Secret")}
	made := found(hooks.CreateHook(ctx, owner, name, &github.Hook{Config: config, Events: []string{"push"}, Active: github.Ptr(true)}))
	saw["made"] = []any{
		made.GetType(), made.GetName(), made.GetActive(), made.Events, made.Config.GetURL(), made.Config.GetContentType(),
		made.Config.GetInsecureSSL(), made.Config.GetSecret(), made.LastResponse["status"],
	}
	saw["at"] = made.GetCreatedAt().Unix()
	ids := []int64{made.GetID()}
	for _, path := range []string{"/2", "/3"} {
		other := &github.HookConfig{URL: github.Ptr(receiver + path)}
		ids = append(ids, found(hooks.CreateHook(ctx, owner, name, &github.Hook{Config: other})).GetID())
	}
	saw["ids"], saw["pages"] = ids, pages(ctx, hooks)
	id := ids[0]

	changed := found(hooks.EditHook(ctx, owner, name, id, &github.Hook{Events: []string{"push", "issues"}}))
	saw["events"] = []any{changed.Events, found(hooks.GetHook(ctx, owner, name, id)).Events}
	saw["config"] = []any{
		found(hooks.UpdateHookConfiguration(ctx, owner, name, id, github.HookConfig{ContentType: github.Ptr("form")})).GetContentType(),
		found(hooks.GetHookConfiguration(ctx, owner, name, id)).GetContentType(),
	}

	must(hooks.PingHook(ctx, owner, name, id))
	deliver(answers)
	must(hooks.TestHook(ctx, owner, name, id))
	deliver(answers)
	saw["deliveries"] = shown(deliveries(ctx, hooks, id))
	ping := deliveries(ctx, hooks, id)[1]
	whole := found(hooks.GetHookDelivery(ctx, owner, name, id, ping.GetID()))
	parsed := must(whole.ParseRequestPayload()).(*github.PingEvent)
	saw["whole"] = []any{
		whole.GetGUID() == ping.GetGUID(), parsed.GetHookID() == id, parsed.GetRepo().GetFullName(), string(*whole.Response.RawPayload),
	}
	// What the client makes of every 202.
	var accepted *github.AcceptedError
	_, _, err = hooks.RedeliverHookDelivery(ctx, owner, name, id, ping.GetID())
	saw["accepted"] = errors.As(err, &accepted)
	deliver(answers)
	saw["again"] = shown(deliveries(ctx, hooks, id)[:1])

	_, _, err = hooks.Get(ctx, owner, "nowhere")
	saw["missing"] = refusal(err)
	_, _, err = hooks.CreateHook(ctx, owner, name, &github.Hook{Config: &github.HookConfig{ContentType: github.Ptr("json")}})
	saw["invalid"] = refusal(err)
	_, _, err = connect(url, stranger).Users.Get(ctx, "")
	saw["stranger"] = refusal(err)

	for _, id := range ids {
		must(hooks.DeleteHook(ctx, owner, name, id))
	}
	saw["left"] = len(found(hooks.ListHooks(ctx, owner, name, nil)))
	fmt.Println(string(must(json.Marshal(saw))))
}
