// Package hookhub is HookHub's SDK for Go: publish events, manage webhooks, and verify what they send.
//
//	client, err := hookhub.New("https://hooks.example.org", "hh_…")
//	receipt, err := client.Publish(ctx, hookhub.NewEvent{Type: "order.paid", Data: order})
//
// It needs nothing but Go's standard library.
package hookhub

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

const userAgent = "HookHub-Go/0.1.0"

var validKey = regexp.MustCompile(`^[\x21-\x7e]{1,1000}$`)

// Client is a HookHub and one API key. Goroutines may share it.
//
// Requests are repeated with exponential backoff when the connection fails or the API answers 429, 502, 503 or 504, and
// when repeating them is safe. Publishing is safe to repeat, because every event has an idempotency key. What fails
// returns an *Error, or the error of a context that has ended.
type Client struct {
	AlertChannels  AlertChannels
	Alerts         Alerts
	APIKeys        APIKeys
	AuditLog       AuditLog
	Deliveries     Deliveries
	EventTypes     EventTypes
	Events         Events
	Organizations  Organizations
	PortalSessions PortalSessions
	Replays        Replays
	Repositories   Repositories
	Webhooks       Webhooks

	base         string
	apiKey       string
	timeout      time.Duration
	retries      int
	deadline     time.Duration
	organization string
	http         *http.Client
	sleep        func(context.Context, time.Duration) error
}

// Option changes a default of a Client.
type Option func(*Client)

// WithTimeout sets how long one attempt may take, with its response. The default is 10 seconds.
func WithTimeout(timeout time.Duration) Option { return func(c *Client) { c.timeout = timeout } }

// WithRetries sets how many times a request may be repeated. The default is 4.
func WithRetries(retries int) Option { return func(c *Client) { c.retries = retries } }

// WithDeadline sets the time after which no further attempt begins. The default is 2 minutes.
func WithDeadline(deadline time.Duration) Option { return func(c *Client) { c.deadline = deadline } }

// WithOrganization sets the organization (a slug) that all requests are about. Only operators' keys need it.
func WithOrganization(organization string) Option {
	return func(c *Client) { c.organization = organization }
}

// WithTransport sets what sends the requests, in place of http.DefaultTransport.
func WithTransport(transport http.RoundTripper) Option {
	return func(c *Client) { c.http.Transport = transport }
}

// New returns a client. The address is that of HookHub with or without /v1, such as https://hooks.example.org.
//
// The error of an invalid address or key contains neither.
func New(address, apiKey string, options ...Option) (*Client, error) {
	// What was read from a file ends in a line break.
	address = strings.TrimSpace(address)
	parsed, err := url.Parse(address)
	isBase := err == nil && (parsed.Scheme == "http" || parsed.Scheme == "https") && parsed.Hostname() != ""
	if !isBase || parsed.User != nil || strings.ContainsAny(address, "?# ") {
		return nil, errors.New("the address must look like https://hooks.example.org, without credentials, query or fragment")
	}
	apiKey = strings.TrimSpace(apiKey)
	if !validKey.MatchString(apiKey) {
		return nil, errors.New("the API key is empty, too long or contains invalid characters; copy it again")
	}
	c := &Client{
		base:     strings.TrimSuffix(strings.TrimRight(address, "/"), "/v1") + "/v1",
		apiKey:   apiKey,
		timeout:  10 * time.Second,
		retries:  4,
		deadline: 2 * time.Minute,
		sleep:    sleep,
	}
	// Following a redirect would turn POST into GET.
	c.http = &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for _, change := range options {
		change(c)
	}
	c.AlertChannels, c.Alerts, c.APIKeys = AlertChannels{c}, Alerts{c}, APIKeys{c}
	c.AuditLog, c.Deliveries, c.EventTypes = AuditLog{c}, Deliveries{c}, EventTypes{c}
	c.Events, c.Organizations, c.PortalSessions = Events{c}, Organizations{c}, PortalSessions{c}
	c.Replays, c.Repositories, c.Webhooks = Replays{c}, Repositories{c}, Webhooks{c}
	return c, nil
}

// Meta returns the deployment's version, formats, limits and the addresses from which it sends.
func (c *Client) Meta(ctx context.Context) (*Meta, error) {
	return one[Meta](ctx, c, call{method: http.MethodGet, path: "meta"})
}
