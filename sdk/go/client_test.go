package hookhub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// reply is one response of a fake HookHub; a status of 0 closes the connection.
type reply struct {
	status int
	body   string
	header map[string]string
}

type asked struct {
	method, uri, body string
	header            http.Header
}

// fake is a real server on loopback, which accepts events unless it has other replies.
type fake struct {
	replies []reply
	asked   []asked
	pauses  []time.Duration
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	f.asked = append(f.asked, asked{r.Method, r.RequestURI, string(body), r.Header})
	if len(f.replies) == 0 {
		var receipts []string
		for range bytes.Split(bytes.TrimSpace(body), []byte("\n")) {
			receipts = append(receipts, `{"id":"e","type":"push","accepted_at":"2026-03-04T05:06:07Z"}`)
		}
		w.WriteHeader(202)
		fmt.Fprintf(w, `{"events":[%s]}`, strings.Join(receipts, ","))
		return
	}
	next := f.replies[0]
	f.replies = f.replies[1:]
	if next.status == 0 {
		panic(http.ErrAbortHandler)
	}
	for name, value := range next.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(next.status)
	io.WriteString(w, next.body)
}

// start returns a fake and a client that records pauses instead of sleeping.
func start(t *testing.T, options ...Option) (*fake, *Client) {
	hub := &fake{}
	server := httptest.NewUnstartedServer(hub)
	server.Config.ErrorLog = nil
	server.Start()
	t.Cleanup(server.Close)
	client, err := New(server.URL, "hh_1_secret\n", options...)
	if err != nil {
		t.Fatal(err)
	}
	client.sleep = func(_ context.Context, pause time.Duration) error {
		hub.pauses = append(hub.pauses, pause)
		return nil
	}
	return hub, client
}

func refusal(status int, code string, header ...string) reply {
	found := reply{status, fmt.Sprintf(`{"error":{"code":%q,"message":"No.","fields":[]}}`, code), nil}
	if len(header) > 0 {
		found.header = map[string]string{header[0]: header[1]}
	}
	return found
}

func TestAnEventIsPublishedAgainWithTheSameID(t *testing.T) {
	for name, trouble := range map[string]reply{
		"the connection breaks": {},
		"429":                   refusal(429, "throttled"),
		"502 of a proxy":        {502, "<html>bad gateway</html>", nil},
		"503":                   refusal(503, "unavailable"),
	} {
		t.Run(name, func(t *testing.T) {
			hub, client := start(t)
			hub.replies = []reply{trouble, trouble}

			receipt, err := client.Publish(t.Context(), NewEvent{Type: "push", Data: map[string]any{"a": "<ü>"}})

			if err != nil || receipt.ID != "e" || receipt.AcceptedAt.Year() != 2026 {
				t.Fatal(receipt, err)
			}
			bodies := map[string]bool{}
			for _, each := range hub.asked {
				bodies[each.body] = true
			}
			if len(hub.asked) != 3 || len(bodies) != 1 || !strings.Contains(hub.asked[0].body, `{"a":"<ü>"}`) {
				t.Fatal(hub.asked)
			}
			if hub.pauses[0] < 250*time.Millisecond || hub.pauses[1] < 500*time.Millisecond || hub.pauses[1] > time.Second {
				t.Fatal(hub.pauses)
			}
			if header := hub.asked[0].header; header.Get("Authorization") != "Bearer hh_1_secret" || header.Get("HookHub-Dialect") != "native" {
				t.Fatal(header)
			}
		})
	}
}

func TestRetryAfterIsHonouredWithinTheDeadline(t *testing.T) {
	hub, client := start(t, WithDeadline(time.Minute))
	hub.replies = []reply{refusal(429, "throttled", "Retry-After", "7"), refusal(503, "unavailable", "Retry-After", "90")}

	_, err := client.Publish(t.Context(), NewEvent{Type: "push"})

	var failed *Error
	if !errors.As(err, &failed) || failed.Status != 503 || failed.Code != "unavailable" {
		t.Fatal(err)
	}
	if !slices.Equal(hub.pauses, []time.Duration{7 * time.Second}) {
		t.Fatal(hub.pauses)
	}
}

func TestWhatMayHaveHadAnEffectIsNotRepeated(t *testing.T) {
	for _, trouble := range []reply{{}, refusal(503, "unavailable"), refusal(504, "unavailable")} {
		hub, client := start(t)
		hub.replies = []reply{trouble}

		if _, err := client.Webhooks.Create(t.Context(), NewWebhook{URL: "https://a.example/"}); err == nil {
			t.Fatal("no error")
		}
		if len(hub.asked) != 1 {
			t.Fatal(hub.asked)
		}
	}
}

func TestAClosedPortIsTriedAgainEvenForACreation(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	client, _ := New("http://"+closed.Addr().String(), "hh_1", WithRetries(2))
	pauses := 0
	client.sleep = func(context.Context, time.Duration) error { pauses++; return nil }

	_, err = client.Webhooks.Create(t.Context(), NewWebhook{URL: "https://a.example/"})

	if err == nil || !strings.Contains(err.Error(), "no response after 3 attempts") || pauses != 2 {
		t.Fatal(err, pauses)
	}
}

func TestAnAttemptEndsAfterItsTimeoutAndACallWithItsContext(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	}))
	t.Cleanup(server.Close)
	client, _ := New(server.URL, "hh_1", WithTimeout(20*time.Millisecond), WithRetries(1))

	_, err := client.Publish(t.Context(), NewEvent{Type: "push"})
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	_, cancelled := client.Publish(ended, NewEvent{Type: "push"})

	var failed *Error
	if !errors.As(err, &failed) || failed.Code != "connection_failed" || !errors.Is(err, context.DeadlineExceeded) {
		t.Fatal(err)
	}
	if !errors.Is(cancelled, context.Canceled) {
		t.Fatal(cancelled)
	}
}

func TestABatchIsCutAndTellsWhatWasAcceptedBeforeItFailed(t *testing.T) {
	hub, client := start(t)
	events := slices.Repeat([]NewEvent{{Type: "push", Data: 1}}, 1001)

	receipts, err := client.PublishBatch(t.Context(), events)
	if err != nil || len(receipts) != 1001 || len(hub.asked) != 2 {
		t.Fatal(len(receipts), err)
	}
	heavy := strings.Repeat("x", 600_000)
	if _, err = client.PublishBatch(t.Context(), []NewEvent{{Data: heavy}, {Data: heavy}}); err != nil || len(hub.asked) != 4 {
		t.Fatal(len(hub.asked), err)
	}
	var failed *Error
	hub.replies = []reply{refusal(422, "invalid")}
	if _, err = client.PublishBatch(t.Context(), events); !errors.As(err, &failed) || len(failed.Published) != 0 {
		t.Fatal(err)
	}
	hub.asked = nil
	client.http.Transport = second{hub}
	receipts, err = client.PublishBatch(t.Context(), events)
	if !errors.As(err, &failed) || len(failed.Published) != 1000 || len(receipts) != 1000 {
		t.Fatal(len(receipts), err)
	}
}

// second refuses all requests after the first.
type second struct{ hub *fake }

func (s second) RoundTrip(request *http.Request) (*http.Response, error) {
	if len(s.hub.asked) == 1 {
		s.hub.replies = []reply{{422, `{"error":{"code":"invalid","message":"No.","fields":[{"field":"type","message":"is bad"}]}}`, nil}}
	}
	return http.DefaultTransport.RoundTrip(request)
}

func TestPagesAreFetchedAsTheyAreNeeded(t *testing.T) {
	hub, client := start(t)
	elsewhere := "http://internal.example:8000/v1/deliveries?state=failed&state=held&limit=2&cursor=a%2Bb"
	hub.replies = []reply{
		{200, fmt.Sprintf(`{"results":[{"id":"1","state":"failed"},{"id":"2"}],"next":%q}`, elsewhere), nil},
		{200, `{"results":[{"id":"3"}],"next":null}`, nil},
	}

	var ids []string
	for delivery, err := range client.Deliveries.List(t.Context(), DeliveriesFilter{State: []string{"failed", "held"}, Limit: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, delivery.ID)
	}

	if strings.Join(ids, "") != "123" || hub.asked[0].uri != "/v1/deliveries?limit=2&state=failed&state=held" {
		t.Fatal(ids, hub.asked)
	}
	if hub.asked[1].uri != "/v1/deliveries?cursor=a%2Bb&limit=2&state=failed&state=held" {
		t.Fatal(hub.asked[1].uri)
	}
}

func TestTheOrganizationOfAnOperatorsKeyIsNamedOnce(t *testing.T) {
	hub, client := start(t, WithOrganization("acme"))
	hub.replies = []reply{
		{200, `{"results":[],"next":"http://a/v1/webhooks?cursor=a&organization=acme"}`, nil},
		{200, `{"results":[]}`, nil},
		{200, `{"slug":"acme"}`, nil},
	}
	for _, err := range client.Webhooks.List(t.Context(), WebhooksFilter{Status: "active"}) {
		t.Fatal(err)
	}
	if _, err := client.Organizations.Get(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	var uris []string
	for _, each := range hub.asked {
		uris = append(uris, each.uri)
	}
	want := []string{
		"/v1/webhooks?organization=acme&status=active", "/v1/webhooks?cursor=a&organization=acme", "/v1/organizations/acme",
	}
	if !slices.Equal(uris, want) {
		t.Fatal(uris)
	}
}

func TestAListThatLeadsToItselfEnds(t *testing.T) {
	hub, client := start(t)
	hub.replies = slices.Repeat([]reply{{200, `{"results":[],"next":"http://a/v1/webhooks?cursor=a"}`, nil}}, 3)

	var last error
	for _, err := range client.Webhooks.List(t.Context(), WebhooksFilter{}) {
		last = err
	}

	var failed *Error
	if !errors.As(last, &failed) || failed.Code != "not_hookhub" || len(hub.asked) != 2 {
		t.Fatal(last, hub.asked)
	}
}

func TestFieldsAreLeftOutSetOrNull(t *testing.T) {
	hub, client := start(t)
	hub.replies = []reply{{200, `{"id":"w"}`, nil}}

	changes := WebhookChanges{Name: Set(""), Timeout: Null[float64](), Active: Set(false)}
	if _, err := client.Webhooks.Update(t.Context(), "../w", changes); err != nil {
		t.Fatal(err)
	}

	var body map[string]any
	json.Unmarshal([]byte(hub.asked[0].body), &body)
	if fmt.Sprint(body) != "map[active:false name: timeout:<nil>]" || hub.asked[0].uri != "/v1/webhooks/..%2Fw" {
		t.Fatal(body, hub.asked[0].uri)
	}
}

func TestAPartOfAPathThatWouldLeadElsewhereIsRefusedAndNothingIsAsked(t *testing.T) {
	hub, client := start(t)
	for _, part := range []string{"..", ".", ""} {
		if err := client.Repositories.Delete(t.Context(), part); err == nil {
			t.Errorf("%q was sent", part)
		}
		if _, err := client.Deliveries.Redeliver(t.Context(), part); err == nil {
			t.Errorf("%q was sent", part)
		}
	}
	if len(hub.asked) != 0 {
		t.Fatal(hub.asked)
	}
}

func TestARepeatedDeletionThatFindsNothingWasCarriedOutBefore(t *testing.T) {
	hub, client := start(t)
	hub.replies = []reply{{}, refusal(404, "not_found")}
	if err := client.Webhooks.Delete(t.Context(), "w"); err != nil {
		t.Fatal(err)
	}
	hub.replies = []reply{refusal(404, "not_found")}
	if err := client.Webhooks.Delete(t.Context(), "w"); err == nil {
		t.Fatal("a first deletion that finds nothing is an error")
	}
}

func TestAnAnswerThatIsNotHookHubsIsAnErrorToo(t *testing.T) {
	for code, answer := range map[string]reply{
		"not_hookhub": {200, "<html>", nil},
		"redirected":  {301, "", map[string]string{"Location": "https://b.example/"}},
		"unknown":     {500, "oops", nil},
	} {
		hub, client := start(t, WithRetries(0))
		hub.replies = []reply{answer}
		var failed *Error
		if _, err := client.Webhooks.Get(t.Context(), "w"); !errors.As(err, &failed) || failed.Code != code {
			t.Errorf("got %v, want %s", err, code)
		}
	}
}

func TestAnAddressOrAKeyThatIsNoneIsRefusedWithoutBeingShown(t *testing.T) {
	for _, each := range [][2]string{
		{"hooks.example", "hh_secret"}, {"ftp://hooks.example", "hh_secret"}, {"https://u:hh_secret@hooks.example", "k"},
		{"https://hooks.example?a=hh_secret", "k"}, {"https://hooks.example", ""}, {"https://hooks.example", "hh_secret ü"},
	} {
		if _, err := New(each[0], each[1]); err == nil || strings.Contains(err.Error(), "hh_secret") {
			t.Errorf("%v: got %v", each, err)
		}
	}
}
