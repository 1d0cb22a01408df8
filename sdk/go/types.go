// Code generated from ../openapi.json by `make sdk`; DO NOT EDIT.

package hookhub

import (
	"encoding/json"
	"net/url"
	"time"
)

// Alert: A message about a webhook that was sent, or will be, to one channel.
type Alert struct {
	ID   string    `json:"id"`
	Kind AlertKind `json:"kind"`
	// How much of what disables the webhook was used up; null for other kinds.
	Percent *int            `json:"percent"`
	Webhook *AlertedWebhook `json:"webhook"`
	// The id of the channel; null for an e-mail to the owners.
	Channel     *string       `json:"channel"`
	ChannelType AlertReceiver `json:"channel_type"`
	ChannelName string        `json:"channel_name"`
	// The facts told, as in the system event.
	Details  map[string]any `json:"details"`
	State    AlertState     `json:"state"`
	Attempts int            `json:"attempts"`
	// Why it could not be sent, at the last attempt.
	Error      string     `json:"error"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// AlertChannel: Where alerts about webhooks are sent.
type AlertChannel struct {
	ID          string             `json:"id"`
	Name        string             `json:"name"`
	Type        AlertChannelType   `json:"type"`
	Kinds       []AlertChannelKind `json:"kinds"`
	FromPercent int                `json:"from_percent"`
	Repository  *string            `json:"repository"`
	Recipients  []string           `json:"recipients"`
	// With its secret parts masked; empty for e-mail.
	URL        string     `json:"url"`
	Enabled    bool       `json:"enabled"`
	LastSentAt *time.Time `json:"last_sent_at"`
	// Since when nothing could be sent; null if it works.
	FailingSince *time.Time `json:"failing_since"`
	// Why the last alert could not be sent; empty if it was.
	LastError string    `json:"last_error"`
	CreatedAt time.Time `json:"created_at"`
	ChangedAt time.Time `json:"changed_at"`
}

// AlertChannelChanges: Changes to a channel. Its type cannot be changed.
type AlertChannelChanges struct {
	Name Optional[string] `json:"name,omitzero"`
	// What it is told; everything by default.
	Kinds Optional[[]AlertChannelKind] `json:"kinds,omitzero"`
	// Of the warnings that a webhook keeps failing, only those from this percentage on.
	FromPercent Optional[int] `json:"from_percent,omitzero"`
	// Only about the webhooks of this repository; null for all.
	Repository Optional[string] `json:"repository,omitzero"`
	// For `email`: the addresses; none for the owners of the organization.
	Recipients Optional[[]string] `json:"recipients,omitzero"`
	// For all others: where to send to. It is shown masked.
	URL     Optional[string] `json:"url,omitzero"`
	Enabled Optional[bool]   `json:"enabled,omitzero"`
}

// AlertChannelKind is a string of the API; a newer HookHub may have more of them.
type AlertChannelKind string

const (
	AlertChannelKindFailing     AlertChannelKind = "failing"
	AlertChannelKindDisabled    AlertChannelKind = "disabled"
	AlertChannelKindRecovered   AlertChannelKind = "recovered"
	AlertChannelKindLeaseEnding AlertChannelKind = "lease_ending"
)

// AlertChannelRotation is an object of the API.
type AlertChannelRotation struct {
	// Seconds for which the previous secrets keep signing; 0 stops them immediately.
	Overlap Optional[int] `json:"overlap,omitzero"`
}

// AlertChannelType is a string of the API; a newer HookHub may have more of them.
type AlertChannelType string

const (
	AlertChannelTypeEmail   AlertChannelType = "email"
	AlertChannelTypeSlack   AlertChannelType = "slack"
	AlertChannelTypeTeams   AlertChannelType = "teams"
	AlertChannelTypeWebhook AlertChannelType = "webhook"
)

// AlertChannelWithSecret: A new channel; one of type `webhook` with the secret that signs, which is shown only
// once.
type AlertChannelWithSecret struct {
	AlertChannel
	Secret *string `json:"secret"`
}

// AlertKind is a string of the API; a newer HookHub may have more of them.
type AlertKind string

const (
	AlertKindFailing     AlertKind = "failing"
	AlertKindDisabled    AlertKind = "disabled"
	AlertKindRecovered   AlertKind = "recovered"
	AlertKindLeaseEnding AlertKind = "lease_ending"
	AlertKindTest        AlertKind = "test"
)

// AlertReceiver is a string of the API; a newer HookHub may have more of them.
type AlertReceiver string

const (
	AlertReceiverOwners  AlertReceiver = "owners"
	AlertReceiverEmail   AlertReceiver = "email"
	AlertReceiverSlack   AlertReceiver = "slack"
	AlertReceiverTeams   AlertReceiver = "teams"
	AlertReceiverWebhook AlertReceiver = "webhook"
)

// AlertState is a string of the API; a newer HookHub may have more of them.
type AlertState string

const (
	AlertStatePending    AlertState = "pending"
	AlertStateSent       AlertState = "sent"
	AlertStateFailed     AlertState = "failed"
	AlertStateSuperseded AlertState = "superseded"
)

// AlertedWebhook: The webhook that an alert is about.
type AlertedWebhook struct {
	ID   string `json:"id"`
	Name string `json:"name"`
}

// APIKey: An API key, without the text of the key itself.
type APIKey struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// What the key permits. manage includes publish and read; master includes all.
	Scope KeyScope `json:"scope"`
	// When the key expires; null for never.
	ExpiresAt *time.Time `json:"expires_at"`
	// IP addresses and networks that may use the key; empty for any.
	AllowedNetworks         []string   `json:"allowed_networks"`
	CreatedAt               time.Time  `json:"created_at"`
	RolledAt                *time.Time `json:"rolled_at"`
	PreviousSecretExpiresAt *time.Time `json:"previous_secret_expires_at"`
	LastUsedAt              *time.Time `json:"last_used_at"`
	RevokedAt               *time.Time `json:"revoked_at"`
}

// APIKeyChanges: Changes to an API key. Its scope cannot be changed.
type APIKeyChanges struct {
	Name Optional[string] `json:"name,omitzero"`
	// When the key expires; null for never.
	ExpiresAt Optional[time.Time] `json:"expires_at,omitzero"`
	// IP addresses and networks that may use the key; empty for any.
	AllowedNetworks Optional[[]string] `json:"allowed_networks,omitzero"`
}

// APIKeyRoll: The options of rolling an API key.
type APIKeyRoll struct {
	// Seconds for which the old secret stays valid; HOOKHUB_SECRET_OVERLAP by default.
	OverlapSeconds Optional[int] `json:"overlap_seconds,omitzero"`
	// New expiry; unchanged by default.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
}

// APIKeyWithText: An API key with the text of the key itself, which is shown only once.
type APIKeyWithText struct {
	APIKey
	Key string `json:"key"`
}

// Attempt: One request that was made for a delivery.
type Attempt struct {
	ID        string         `json:"id"`
	Number    int            `json:"number"`
	StartedAt time.Time      `json:"started_at"`
	Duration  *float64       `json:"duration"`
	Timing    AttemptTiming  `json:"timing"`
	Outcome   AttemptOutcome `json:"outcome"`
	Status    *int           `json:"status"`
	// What exactly went wrong, if there was no response and it is known.
	Cause       *AttemptCause       `json:"cause"`
	Error       string              `json:"error"`
	Explanation *AttemptExplanation `json:"explanation"`
	Request     AttemptRequest      `json:"request"`
	Response    *AttemptResponse    `json:"response"`
}

// AttemptCause is a string of the API; a newer HookHub may have more of them.
type AttemptCause string

const (
	AttemptCauseNameNotResolved           AttemptCause = "name_not_resolved"
	AttemptCauseNameTimedOut              AttemptCause = "name_timed_out"
	AttemptCauseConnectionRefused         AttemptCause = "connection_refused"
	AttemptCauseConnectionFailed          AttemptCause = "connection_failed"
	AttemptCauseConnectionTimedOut        AttemptCause = "connection_timed_out"
	AttemptCauseConnectionClosed          AttemptCause = "connection_closed"
	AttemptCauseOutOfResources            AttemptCause = "out_of_resources"
	AttemptCauseAddressBlocked            AttemptCause = "address_blocked"
	AttemptCauseHttpsRequired             AttemptCause = "https_required"
	AttemptCauseCertificateExpired        AttemptCause = "certificate_expired"
	AttemptCauseCertificateUntrusted      AttemptCause = "certificate_untrusted"
	AttemptCauseCertificateForOtherName   AttemptCause = "certificate_for_other_name"
	AttemptCauseCertificateInvalid        AttemptCause = "certificate_invalid"
	AttemptCauseClientCertificateDemanded AttemptCause = "client_certificate_demanded"
	AttemptCauseTlsFailed                 AttemptCause = "tls_failed"
	AttemptCauseResponseTimedOut          AttemptCause = "response_timed_out"
	AttemptCauseResponseIncomplete        AttemptCause = "response_incomplete"
	AttemptCauseResponseNotHTTP           AttemptCause = "response_not_http"
	AttemptCauseResponseHeadersTooLong    AttemptCause = "response_headers_too_long"
	AttemptCauseUnrenderable              AttemptCause = "unrenderable"
)

// AttemptExplanation: Why an attempt did not deliver, in words.
type AttemptExplanation struct {
	WhatHappened string `json:"what_happened"`
	WhatToDo     string `json:"what_to_do"`
}

// AttemptOutcome is a string of the API; a newer HookHub may have more of them.
type AttemptOutcome string

const (
	AttemptOutcomeDelivered  AttemptOutcome = "delivered"
	AttemptOutcomeFailed     AttemptOutcome = "failed"
	AttemptOutcomeGone       AttemptOutcome = "gone"
	AttemptOutcomeNoResponse AttemptOutcome = "no_response"
	AttemptOutcomeUnknown    AttemptOutcome = "unknown"
)

// AttemptRequest: The request of an attempt, with secrets masked.
type AttemptRequest struct {
	URL string `json:"url"`
	// One `Name: value` pair per line.
	Headers string `json:"headers"`
}

// AttemptResponse: The receiver's response to an attempt.
type AttemptResponse struct {
	// One `Name: value` pair per line.
	Headers string `json:"headers"`
	// Start of the body, as text.
	Body string `json:"body"`
}

// AttemptTiming: How long each phase of an attempt took, in seconds; null for a phase that was not needed, or
// not completed.
type AttemptTiming struct {
	// Look-up of the host name.
	Dns *float64 `json:"dns"`
	// TCP connection; null if one was kept from before.
	Connect *float64 `json:"connect"`
	// TLS handshake.
	Tls *float64 `json:"tls"`
	// From the request to the first byte of the response.
	FirstByte *float64 `json:"first_byte"`
}

// AuditActor: The key, person, command or part of HookHub that made a change.
type AuditActor struct {
	Kind AuditActorKind `json:"kind"`
	// Id of the key, login of the person or name of the command.
	ID string `json:"id"`
	// Name of the key or the person; for a command, the operating system user that ran it.
	Name string `json:"name"`
	// IP address of the client; empty if there was no request.
	Address string `json:"address"`
	// X-Request-Id of the request; empty if it had none.
	RequestID string `json:"request_id"`
}

// AuditActorKind is a string of the API; a newer HookHub may have more of them.
type AuditActorKind string

const (
	AuditActorKindAPIKey    AuditActorKind = "api_key"
	AuditActorKindPerson    AuditActorKind = "person"
	AuditActorKindCommand   AuditActorKind = "command"
	AuditActorKindPortal    AuditActorKind = "portal"
	AuditActorKindSystem    AuditActorKind = "system"
	AuditActorKindAnonymous AuditActorKind = "anonymous"
)

// AuditEntry: A change in the audit log.
type AuditEntry struct {
	ID         string    `json:"id"`
	RecordedAt time.Time `json:"recorded_at"`
	// Object and verb, such as webhook.updated.
	Action       string      `json:"action"`
	Organization *string     `json:"organization"`
	Actor        AuditActor  `json:"actor"`
	Target       AuditTarget `json:"target"`
	// The changed fields before the change, with secrets masked.
	Before map[string]any `json:"before"`
	// The same fields after the change.
	After map[string]any `json:"after"`
}

// AuditTarget: The object that was changed.
type AuditTarget struct {
	Kind string `json:"kind"`
	// Empty if several objects were changed at once; `after` lists them.
	ID    string `json:"id"`
	Label string `json:"label"`
}

// ChangedWebhook: A webhook after a change. Moving it to another receiver generates a new secret, which is shown
// only once.
type ChangedWebhook struct {
	Webhook
	Secret string `json:"secret"`
}

// ContentType is a string of the API; a newer HookHub may have more of them.
type ContentType string

const (
	ContentTypeJson ContentType = "json"
	ContentTypeForm ContentType = "form"
)

// Delivery: An event for one webhook, the same on each attempt and redelivery.
type Delivery struct {
	ID         string        `json:"id"`
	Event      string        `json:"event"`
	Type       string        `json:"type"`
	Webhook    string        `json:"webhook"`
	Repository *string       `json:"repository"`
	State      DeliveryState `json:"state"`
	// Why the delivery is finished; null until then.
	FinishReason *DeliveryFinishReason `json:"finish_reason"`
	// Number of attempts.
	AttemptsMade int `json:"attempts_made"`
	// Number of failed attempts in the current retry schedule.
	Failures int `json:"failures"`
	// Number of times the delivery was redelivered.
	Redeliveries int  `json:"redeliveries"`
	LastStatus   *int `json:"last_status"`
	// When the next attempt of a pending delivery is due.
	DueAt      *time.Time `json:"due_at"`
	CreatedAt  time.Time  `json:"created_at"`
	FinishedAt *time.Time `json:"finished_at"`
}

// DeliveryDetail: A delivery with its attempts.
type DeliveryDetail struct {
	Delivery
	Attempts []Attempt `json:"attempts"`
}

// DeliveryFinishReason is a string of the API; a newer HookHub may have more of them.
type DeliveryFinishReason string

const (
	DeliveryFinishReasonDelivered    DeliveryFinishReason = "delivered"
	DeliveryFinishReasonExhausted    DeliveryFinishReason = "exhausted"
	DeliveryFinishReasonGone         DeliveryFinishReason = "gone"
	DeliveryFinishReasonPoison       DeliveryFinishReason = "poison"
	DeliveryFinishReasonCancelled    DeliveryFinishReason = "cancelled"
	DeliveryFinishReasonLeaseExpired DeliveryFinishReason = "lease_expired"
)

// DeliveryOfEvent: A delivery of an event, in brief.
type DeliveryOfEvent struct {
	ID      string        `json:"id"`
	Webhook string        `json:"webhook"`
	State   DeliveryState `json:"state"`
}

// DeliveryState is a string of the API; a newer HookHub may have more of them.
type DeliveryState string

const (
	DeliveryStatePending   DeliveryState = "pending"
	DeliveryStateSending   DeliveryState = "sending"
	DeliveryStateDelivered DeliveryState = "delivered"
	DeliveryStateFailed    DeliveryState = "failed"
	DeliveryStateHeld      DeliveryState = "held"
	DeliveryStateCancelled DeliveryState = "cancelled"
)

// Dialect is a string of the API; a newer HookHub may have more of them.
type Dialect string

const (
	DialectNative        Dialect = "native"
	DialectCoregit       Dialect = "coregit"
	DialectCodeStorage   Dialect = "code-storage"
	DialectSigmagit      Dialect = "sigmagit"
	DialectSocialGateway Dialect = "social-gateway"
	DialectCodmir        Dialect = "codmir"
)

// DisabledWebhook: A webhook after it was disabled.
type DisabledWebhook struct {
	Webhook
	// Number of pending deliveries that are now held.
	Held int `json:"held"`
}

// EnabledWebhook: A webhook after it was enabled.
type EnabledWebhook struct {
	Webhook
	// Number of held deliveries that were released.
	Released int `json:"released"`
}

// Event: Something that happened, as it was published.
type Event struct {
	ID             string    `json:"id"`
	Type           string    `json:"type"`
	Organization   string    `json:"organization"`
	Repository     *string   `json:"repository"`
	IdempotencyKey *string   `json:"idempotency_key"`
	Timestamp      time.Time `json:"timestamp"`
	AcceptedAt     time.Time `json:"accepted_at"`
}

// EventDetail: An event with its data and its deliveries.
type EventDetail struct {
	Event
	// The published data.
	Data json.RawMessage `json:"data"`
	// The first 100 deliveries of this event.
	Deliveries []DeliveryOfEvent `json:"deliveries"`
}

// EventType: An event type with its JSON Schema and an example.
type EventType struct {
	// Words joined by dots, such as issues.opened.
	Type string `json:"type"`
	// Family of the event type; subscribing to it includes all of its types.
	Family string `json:"family"`
	// System that documents the event type; null for a custom type.
	Dialect     *string `json:"dialect"`
	Description string  `json:"description"`
	// Possible values of `action` in the data.
	Actions []string `json:"actions"`
	// JSON Schema 2020-12, without regular expressions.
	Schema map[string]any `json:"schema"`
	// Data of a test event.
	Example json.RawMessage `json:"example"`
}

// EventTypeChanges: An event type with its JSON Schema and an example.
type EventTypeChanges struct {
	// Words joined by dots, such as issues.opened.
	Type        Optional[string] `json:"type,omitzero"`
	Description Optional[string] `json:"description,omitzero"`
	// JSON Schema 2020-12, without regular expressions.
	Schema Optional[map[string]any] `json:"schema,omitzero"`
	// Data of a test event.
	Example Optional[any] `json:"example,omitzero"`
}

// FailureCounts: The attempts that did not deliver, by kind.
type FailureCounts struct {
	// Responses with a status 3xx.
	Redirects int `json:"redirects"`
	// Responses with a status 4xx.
	ClientErrors int `json:"client_errors"`
	// Responses with a status 5xx.
	ServerErrors int `json:"server_errors"`
	// No complete response before the deadline.
	Timeouts int `json:"timeouts"`
	// Names that do not resolve, and connections that failed.
	Unreachable int `json:"unreachable"`
	// Certificates and TLS handshakes.
	TlsErrors int `json:"tls_errors"`
	// Addresses that this deployment does not send to.
	Blocked int `json:"blocked"`
	Other   int `json:"other"`
}

// Format is a string of the API; a newer HookHub may have more of them.
type Format string

const (
	FormatStandardWebhooks  Format = "standard-webhooks"
	FormatCoregit           Format = "coregit"
	FormatCodeStorage       Format = "code-storage"
	FormatSigmagit          Format = "sigmagit"
	FormatSocialGateway     Format = "social-gateway"
	FormatGithub            Format = "github"
	FormatCodmir            Format = "codmir"
	FormatSlack             Format = "slack"
	FormatDiscord           Format = "discord"
	FormatCampfire          Format = "campfire"
	FormatWebsub            Format = "websub"
	FormatMcpEvent          Format = "mcp-event"
	FormatCloudevents       Format = "cloudevents"
	FormatCloudeventsBinary Format = "cloudevents-binary"
)

// HeaderChanges is an object of the API.
type HeaderChanges struct {
	// Header values by name; null removes a header.
	Headers Optional[map[string]*string] `json:"headers,omitzero"`
}

// KeyScope is a string of the API; a newer HookHub may have more of them.
type KeyScope string

const (
	KeyScopeMaster  KeyScope = "master"
	KeyScopeManage  KeyScope = "manage"
	KeyScopePublish KeyScope = "publish"
	KeyScopeRead    KeyScope = "read"
)

// Meta: The version and the configuration of this deployment.
type Meta struct {
	Version       string   `json:"version"`
	Dialects      []string `json:"dialects"`
	Formats       []string `json:"formats"`
	DefaultFormat string   `json:"default_format"`
	// Seconds to wait before each retry.
	RetrySchedule []float64 `json:"retry_schedule"`
	// Maximum duration of one attempt, in seconds.
	Timeout     float64 `json:"timeout"`
	MaxInFlight int     `json:"max_in_flight"`
	// Maximum size of one event's data, in bytes.
	PayloadLimit    int      `json:"payload_limit"`
	RetentionDays   int      `json:"retention_days"`
	SourceAddresses []string `json:"source_addresses"`
}

// MissingCount: How many events of a period a webhook never got.
type MissingCount struct {
	// Before the webhook's `filter`, which may reject some of them.
	Events int `json:"events"`
	// Whether there may be more: the first 10,000 events of the period are examined.
	IsAtLeast bool `json:"is_at_least"`
}

// NewAlertChannel: The fields of a new channel; those of a change are the same, without `type`.
type NewAlertChannel struct {
	// `slack` is an incoming webhook, `teams` a workflow, `webhook` a URL of your own.
	Type AlertChannelType `json:"type"`
	Name string           `json:"name,omitzero"`
	// What it is told; everything by default.
	Kinds []AlertChannelKind `json:"kinds,omitzero"`
	// Of the warnings that a webhook keeps failing, only those from this percentage on.
	FromPercent Optional[int] `json:"from_percent,omitzero"`
	// Only about the webhooks of this repository; null for all.
	Repository string `json:"repository,omitzero"`
	// For `email`: the addresses; none for the owners of the organization.
	Recipients []string `json:"recipients,omitzero"`
	// For all others: where to send to. It is shown masked.
	URL     string         `json:"url,omitzero"`
	Enabled Optional[bool] `json:"enabled,omitzero"`
}

// NewAPIKey: An API key, without the text of the key itself.
type NewAPIKey struct {
	Name string `json:"name,omitzero"`
	// What the key permits. manage includes publish and read; master includes all.
	Scope KeyScope `json:"scope"`
	// When the key expires; null for never.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// IP addresses and networks that may use the key; empty for any.
	AllowedNetworks []string `json:"allowed_networks,omitzero"`
}

// NewEventType: An event type with its JSON Schema and an example.
type NewEventType struct {
	// Words joined by dots, such as issues.opened.
	Type        string `json:"type"`
	Description string `json:"description,omitzero"`
	// JSON Schema 2020-12, without regular expressions.
	Schema map[string]any `json:"schema,omitzero"`
	// Data of a test event.
	Example any `json:"example,omitzero"`
	// Slug of the organization. Required only with an operator's key, or if you belong to several organizations.
	Organization string `json:"organization,omitzero"`
}

// NewMissingReplay is an object of the API.
type NewMissingReplay struct {
	// Only events accepted at or after this time.
	After time.Time `json:"after"`
	// Only events accepted before this time; now if absent or null.
	Before time.Time `json:"before,omitzero"`
}

// NewOrganizationLimits: Limits of this organization, set by the operator; null for the deployment's limits.
type NewOrganizationLimits struct {
	EventsPerMinute         Optional[int] `json:"events_per_minute,omitzero"`
	RequestsPerMinute       Optional[int] `json:"requests_per_minute,omitzero"`
	WebhookChangesPerMinute Optional[int] `json:"webhook_changes_per_minute,omitzero"`
	Webhooks                Optional[int] `json:"webhooks,omitzero"`
	HubSubscriptions        Optional[int] `json:"hub_subscriptions,omitzero"`
	McpSubscriptions        Optional[int] `json:"mcp_subscriptions,omitzero"`
	WebhooksPerURL          Optional[int] `json:"webhooks_per_url,omitzero"`
}

// NewOrganization: A tenant: it has repositories, webhooks, members and API keys of its own.
type NewOrganization struct {
	Slug string `json:"slug"`
	Name string `json:"name,omitzero"`
	// System whose event types and API the organization uses.
	DefaultDialect Dialect `json:"default_dialect,omitzero"`
	// Default wire format; null for the default dialect's.
	DefaultFormat Format `json:"default_format,omitzero"`
	// Reject events whose data violates the schema of their type.
	ValidateEvents Optional[bool] `json:"validate_events,omitzero"`
	// Create a repository when an event first names it.
	CreateRepositories Optional[bool] `json:"create_repositories,omitzero"`
	// Have the URLs of new webhooks, and new URLs, echo a challenge before anything is sent to them.
	VerifyWebhooks Optional[bool] `json:"verify_webhooks,omitzero"`
	// Limits of this organization, set by the operator; null for the deployment's limits.
	Limits Optional[NewOrganizationLimits] `json:"limits,omitzero"`
}

// NewPortalScope: What a session shows; without either field, all of the organization.
type NewPortalScope struct {
	// Only the webhooks of this repository.
	Repository string `json:"repository,omitzero"`
	// Only these webhooks.
	Webhooks []string `json:"webhooks,omitzero"`
}

// NewPortalSession is an object of the API.
type NewPortalSession struct {
	Scope NewPortalScope `json:"scope,omitzero"`
	Role  PortalRole     `json:"role,omitzero"`
	// For how many seconds the session lasts.
	ExpiresIn Optional[int] `json:"expires_in,omitzero"`
	Theme     PortalTheme   `json:"theme,omitzero"`
	// Language of the pages; by default the browser's.
	Locale PortalLocale `json:"locale,omitzero"`
	// Time zone of the times, such as `Europe/Berlin`; by default the browser's.
	TimeZone string `json:"time_zone,omitzero"`
	// Where the pages lead back to, an http:// or https:// URL.
	ReturnURL string `json:"return_url,omitzero"`
}

// NewRateLimit: A limit of the rate of a webhook's requests: from one in ten seconds to 10,000 a second.
type NewRateLimit struct {
	// How many there are at an even pace, and never more than a tenth above it.
	Requests int `json:"requests"`
	// In any so many seconds.
	Per int `json:"per"`
}

// NewReplay: A filter for deliveries; at least one field besides `organization` is required.
type NewReplay struct {
	// Slug of the organization. Required only with an operator's key, or if you belong to several organizations.
	Organization string `json:"organization,omitzero"`
	// Only these deliveries.
	Deliveries []string `json:"deliveries,omitzero"`
	// Only deliveries to this webhook.
	Webhook string `json:"webhook,omitzero"`
	// Only deliveries of this event.
	Event string `json:"event,omitzero"`
	// Only deliveries of this repository's events.
	Repository string `json:"repository,omitzero"`
	// Only deliveries in one of these states.
	State []DeliveryState `json:"state,omitzero"`
	// Only deliveries of events of this type.
	Type string `json:"type,omitzero"`
	// Created at or after this time.
	After time.Time `json:"after,omitzero"`
	// Created before this time.
	Before time.Time `json:"before,omitzero"`
}

// NewRepository: A repository to create.
type NewRepository struct {
	Name string `json:"name"`
	// Whether the repository is private, as GitHub-compatible responses show it.
	Private Optional[bool] `json:"private,omitzero"`
	// Slug of the organization. Required only with an operator's key, or if you belong to several organizations.
	Organization string `json:"organization,omitzero"`
}

// NewWebhook: A subscription of a URL to event types.
type NewWebhook struct {
	// Slug of the organization. Required only with an operator's key, or if you belong to several organizations.
	Organization string `json:"organization,omitzero"`
	// Receive only this repository's events; null for all events of the organization.
	Repository string `json:"repository,omitzero"`
	// Display name.
	Name string `json:"name,omitzero"`
	// `push`: HookHub sends the events to the URL. `poll`: the receiver fetches them; there is no URL. It is fixed.
	Kind WebhookKind `json:"kind,omitzero"`
	// Returned with the values of its query masked, or fully masked in formats whose URL is a secret, such as slack.
	// Required, except of a polling webhook, which has none.
	URL string `json:"url,omitzero"`
	// Event types or families to subscribe to, or ["*"] for all.
	Events []string `json:"events"`
	// Conditions on an event's data, such as `{"data": {"action": "opened"}}`; null for all events.
	Filter map[string]any `json:"filter,omitzero"`
	// Wire format; the organization's default if absent.
	Format Format `json:"format,omitzero"`
	// Encoding of the body: JSON, or a form with the JSON in one field.
	ContentType ContentType `json:"content_type,omitzero"`
	// Signing secret; generated if absent, empty for none if the format allows it. ******** keeps it.
	Secret Optional[string] `json:"secret,omitzero"`
	// Custom headers by name. Values are returned as ********; sending that back keeps the stored value. Omitted
	// headers are removed.
	Headers map[string]string `json:"headers,omitzero"`
	// Whether to verify the receiver's TLS certificate.
	VerifySSL Optional[bool] `json:"verify_ssl,omitzero"`
	// Seconds to wait before each retry; [] for no retries, null for the deployment's schedule.
	RetrySchedule []float64 `json:"retry_schedule,omitzero"`
	// Maximum duration of one attempt, in seconds.
	Timeout Optional[float64] `json:"timeout,omitzero"`
	// Maximum number of concurrent requests; null for the deployment's limit.
	MaxInFlight Optional[int] `json:"max_in_flight,omitzero"`
	// How many requests the webhook gets at most, retries included; null for no limit.
	RateLimit NewRateLimit `json:"rate_limit,omitzero"`
	// Whether to disable the webhook automatically when its deliveries keep failing.
	AutoDisable Optional[bool] `json:"auto_disable,omitzero"`
	// How the URL, and another one later, must prove itself before anything is sent to it: `challenge`, a challenge
	// that it echoes, or `handshake`, that of CloudEvents' Web Hooks. Null: no verification.
	Verify Proof `json:"verify,omitzero"`
	// When the webhook ends: from then on it gets no events, and pending deliveries are cancelled.
	ExpiresAt time.Time `json:"expires_at,omitzero"`
	// Whether the webhook is enabled.
	Active Optional[bool] `json:"active,omitzero"`
}

// OrganizationLimits: Limits of this organization, set by the operator; null for the deployment's limits.
type OrganizationLimits struct {
	EventsPerMinute         int `json:"events_per_minute"`
	RequestsPerMinute       int `json:"requests_per_minute"`
	WebhookChangesPerMinute int `json:"webhook_changes_per_minute"`
	Webhooks                int `json:"webhooks"`
	HubSubscriptions        int `json:"hub_subscriptions"`
	McpSubscriptions        int `json:"mcp_subscriptions"`
	WebhooksPerURL          int `json:"webhooks_per_url"`
}

// Organization: A tenant: it has repositories, webhooks, members and API keys of its own.
type Organization struct {
	Slug string `json:"slug"`
	Name string `json:"name"`
	// System whose event types and API the organization uses.
	DefaultDialect Dialect `json:"default_dialect"`
	// Default wire format; null for the default dialect's.
	DefaultFormat *Format `json:"default_format"`
	// Reject events whose data violates the schema of their type.
	ValidateEvents bool `json:"validate_events"`
	// Create a repository when an event first names it.
	CreateRepositories bool `json:"create_repositories"`
	// Have the URLs of new webhooks, and new URLs, echo a challenge before anything is sent to them.
	VerifyWebhooks bool `json:"verify_webhooks"`
	// Limits of this organization, set by the operator; null for the deployment's limits.
	Limits    *OrganizationLimits `json:"limits"`
	CreatedAt time.Time           `json:"created_at"`
}

// OrganizationChangesLimits: Limits of this organization, set by the operator; null for the deployment's limits.
type OrganizationChangesLimits struct {
	EventsPerMinute         Optional[int] `json:"events_per_minute,omitzero"`
	RequestsPerMinute       Optional[int] `json:"requests_per_minute,omitzero"`
	WebhookChangesPerMinute Optional[int] `json:"webhook_changes_per_minute,omitzero"`
	Webhooks                Optional[int] `json:"webhooks,omitzero"`
	HubSubscriptions        Optional[int] `json:"hub_subscriptions,omitzero"`
	McpSubscriptions        Optional[int] `json:"mcp_subscriptions,omitzero"`
	WebhooksPerURL          Optional[int] `json:"webhooks_per_url,omitzero"`
}

// OrganizationChanges: A tenant: it has repositories, webhooks, members and API keys of its own.
type OrganizationChanges struct {
	Slug Optional[string] `json:"slug,omitzero"`
	Name Optional[string] `json:"name,omitzero"`
	// System whose event types and API the organization uses.
	DefaultDialect Optional[Dialect] `json:"default_dialect,omitzero"`
	// Default wire format; null for the default dialect's.
	DefaultFormat Optional[Format] `json:"default_format,omitzero"`
	// Reject events whose data violates the schema of their type.
	ValidateEvents Optional[bool] `json:"validate_events,omitzero"`
	// Create a repository when an event first names it.
	CreateRepositories Optional[bool] `json:"create_repositories,omitzero"`
	// Have the URLs of new webhooks, and new URLs, echo a challenge before anything is sent to them.
	VerifyWebhooks Optional[bool] `json:"verify_webhooks,omitzero"`
	// Limits of this organization, set by the operator; null for the deployment's limits.
	Limits Optional[OrganizationChangesLimits] `json:"limits,omitzero"`
}

// Poll: Events of a polling webhook, in the order in which they were accepted.
type Poll struct {
	Events []PolledEvent `json:"events"`
	// The position after the last of these events: pass it to get the next.
	Cursor string `json:"cursor"`
	// Whether there are more already.
	HasMore bool `json:"has_more"`
	// How many events before and between these were deleted unread, because they were older than the retention
	// period.
	Expired int `json:"expired"`
}

// PollConsumer: A program that reads a polling webhook, and how far it has come.
type PollConsumer struct {
	Name string `json:"name"`
	// The position up to which it has processed the events.
	Cursor string `json:"cursor"`
	// How many events it has not processed yet.
	Behind int `json:"behind"`
	// When it last committed its position.
	CommittedAt time.Time `json:"committed_at"`
	CreatedAt   time.Time `json:"created_at"`
}

// PollConsumerChanges: A program that reads a polling webhook, and how far it has come.
type PollConsumerChanges struct {
	// The position up to which it has processed the events.
	Cursor string `json:"cursor"`
}

// PollConsumers: The consumers of a polling webhook.
type PollConsumers struct {
	Consumers []PollConsumer `json:"consumers"`
}

// PolledEvent: An event of a polling webhook, with the request that a webhook with a URL would get.
type PolledEvent struct {
	// The id of the delivery: the same however often the event is fetched.
	ID string `json:"id"`
	// The id of the event.
	Event string `json:"event"`
	Type  string `json:"type"`
	// When it happened.
	Timestamp time.Time `json:"timestamp"`
	// The position after this event.
	Cursor string `json:"cursor"`
	// The headers of the request, signed now; null if it cannot be built.
	Headers map[string]string `json:"headers"`
	// Its body, over which the signature is.
	Body *string `json:"body"`
	// Why the request cannot be built.
	Error *string `json:"error"`
}

// PortalLink: A new session with its link, which opens it once.
type PortalLink struct {
	PortalSession
	// The link; it can be opened once, until `url_expires_at`.
	URL          string    `json:"url"`
	URLExpiresAt time.Time `json:"url_expires_at"`
}

// PortalLocale is a string of the API; a newer HookHub may have more of them.
type PortalLocale string

const (
	PortalLocaleEn PortalLocale = "en"
	PortalLocaleDe PortalLocale = "de"
)

// PortalRole is a string of the API; a newer HookHub may have more of them.
type PortalRole string

const (
	PortalRoleRead   PortalRole = "read"
	PortalRoleManage PortalRole = "manage"
)

// PortalScope: What a session shows; without either field, all of the organization.
type PortalScope struct {
	// Only the webhooks of this repository.
	Repository string `json:"repository"`
	// Only these webhooks.
	Webhooks []string `json:"webhooks"`
}

// PortalSession: A session of the portal, without its link.
type PortalSession struct {
	ID    string      `json:"id"`
	Scope PortalScope `json:"scope"`
	Role  PortalRole  `json:"role"`
	Theme PortalTheme `json:"theme"`
	// Language of the pages; null for the browser's.
	Locale *PortalLocale `json:"locale"`
	// Time zone of the times; null for the browser's.
	TimeZone  *string   `json:"time_zone"`
	CreatedAt time.Time `json:"created_at"`
	// When the link was opened; null until then.
	OpenedAt  *time.Time `json:"opened_at"`
	ExpiresAt time.Time  `json:"expires_at"`
	RevokedAt *time.Time `json:"revoked_at"`
}

// PortalSettings: The look of an organization's portal.
type PortalSettings struct {
	// Name of your product, shown at the head of each page.
	ProductName string `json:"product_name"`
	// Color of buttons and of the head, such as `#1a2b3c`.
	AccentColor string `json:"accent_color"`
	// A `data:` URL in base64 of a PNG, JPEG, WebP, GIF or SVG image.
	Logo string `json:"logo"`
	// Origins whose pages may embed the portal, such as `https://app.example`.
	EmbedOrigins []string `json:"embed_origins"`
}

// PortalSettingsChanges: The look of an organization's portal.
type PortalSettingsChanges struct {
	// Name of your product, shown at the head of each page.
	ProductName Optional[string] `json:"product_name,omitzero"`
	// Color of buttons and of the head, such as `#1a2b3c`.
	AccentColor Optional[string] `json:"accent_color,omitzero"`
	// A `data:` URL in base64 of a PNG, JPEG, WebP, GIF or SVG image.
	Logo Optional[string] `json:"logo,omitzero"`
	// Origins whose pages may embed the portal, such as `https://app.example`.
	EmbedOrigins Optional[[]string] `json:"embed_origins,omitzero"`
}

// PortalTheme is a string of the API; a newer HookHub may have more of them.
type PortalTheme string

const (
	PortalThemeAuto  PortalTheme = "auto"
	PortalThemeLight PortalTheme = "light"
	PortalThemeDark  PortalTheme = "dark"
)

// Proof is a string of the API; a newer HookHub may have more of them.
type Proof string

const (
	ProofChallenge Proof = "challenge"
	ProofWebsub    Proof = "websub"
	ProofMcp       Proof = "mcp"
	ProofHandshake Proof = "handshake"
)

// RateLimit: A limit of the rate of a webhook's requests: from one in ten seconds to 10,000 a second.
type RateLimit struct {
	// How many there are at an even pace, and never more than a tenth above it.
	Requests int `json:"requests"`
	// In any so many seconds.
	Per int `json:"per"`
}

// Replay: A job that redelivers in the background.
type Replay struct {
	ID    string      `json:"id"`
	Kind  ReplayKind  `json:"kind"`
	State ReplayState `json:"state"`
	// Why it was cancelled, or null.
	CancelReason *ReplayCancelReason `json:"cancel_reason"`
	// The filter as sent.
	Asked map[string]any `json:"asked"`
	// The deliveries that the filter selects or, of kind `missing`, all events of the period.
	Total int `json:"total"`
	// Whether there may be more than `total`: counting beforehand stops at a limit.
	TotalIsAtLeast bool       `json:"total_is_at_least"`
	Examined       int        `json:"examined"`
	Redelivered    int        `json:"redelivered"`
	CreatedAt      time.Time  `json:"created_at"`
	FinishedAt     *time.Time `json:"finished_at"`
}

// ReplayCancelReason is a string of the API; a newer HookHub may have more of them.
type ReplayCancelReason string

const (
	ReplayCancelReasonRequested         ReplayCancelReason = "requested"
	ReplayCancelReasonWebhookDeleted    ReplayCancelReason = "webhook_deleted"
	ReplayCancelReasonWebhookDisabled   ReplayCancelReason = "webhook_disabled"
	ReplayCancelReasonWebhookUnverified ReplayCancelReason = "webhook_unverified"
	ReplayCancelReasonWebhookEnded      ReplayCancelReason = "webhook_ended"
)

// ReplayKind is a string of the API; a newer HookHub may have more of them.
type ReplayKind string

const (
	ReplayKindRedelivery ReplayKind = "redelivery"
	ReplayKindMissing    ReplayKind = "missing"
)

// ReplayState is a string of the API; a newer HookHub may have more of them.
type ReplayState string

const (
	ReplayStateRunning   ReplayState = "running"
	ReplayStateFinished  ReplayState = "finished"
	ReplayStateCancelled ReplayState = "cancelled"
)

// Repository: What most events are about.
type Repository struct {
	Name     string `json:"name"`
	FullName string `json:"full_name"`
	// Whether the repository is private, as GitHub-compatible responses show it.
	Private   bool      `json:"private"`
	CreatedAt time.Time `json:"created_at"`
}

// RepositoryChanges: What most events are about.
type RepositoryChanges struct {
	Name Optional[string] `json:"name,omitzero"`
	// Whether the repository is private, as GitHub-compatible responses show it.
	Private Optional[bool] `json:"private,omitzero"`
}

// SecretRotation is an object of the API.
type SecretRotation struct {
	// New secret; generated if absent.
	Secret Optional[string] `json:"secret,omitzero"`
	// Seconds for which the previous secrets keep signing; 0 stops them immediately.
	Overlap Optional[int] `json:"overlap,omitzero"`
}

// Subscription: What a subscriber has asked for: at the hub by WebSub, or an agent by MCP.
type Subscription struct {
	// WebSub: the topic, as the subscriber writes it.
	Topic string `json:"topic"`
	// WebSub: the address that it subscribed at.
	Hub string `json:"hub"`
	// WebSub: the algorithm that signs.
	Algorithm string `json:"algorithm"`
	// WebSub: whether it subscribed without a key that may read the repository.
	IsPublic bool `json:"is_public"`
	// MCP: the id of the subscription, as the agent knows it.
	ID string `json:"id"`
	// MCP: the name of the event.
	Name string `json:"name"`
	// MCP: what events are filtered by.
	Arguments map[string]any `json:"arguments"`
	// MCP: the id of the API key with which it subscribed.
	APIKey string `json:"api_key"`
}

// TestEvent is an object of the API.
type TestEvent struct {
	// An event type that the webhook subscribes to; by default, the first one with an example.
	Type string `json:"type,omitzero"`
	// The data to send instead of the example; requires `type`.
	Data any `json:"data,omitzero"`
}

// Timeseries is an object of the API.
type Timeseries struct {
	Step TimeseriesStep `json:"step"`
	// Attempts that ended before this time are counted; it is about a minute ago. Null before the first.
	CountedUntil *time.Time        `json:"counted_until"`
	Points       []TimeseriesPoint `json:"points"`
}

// TimeseriesPoint is an object of the API.
type TimeseriesPoint struct {
	// The beginning of the step.
	At        time.Time     `json:"at"`
	Attempts  int           `json:"attempts"`
	Delivered int           `json:"delivered"`
	Failed    FailureCounts `json:"failed"`
	// Median time to a complete response, in milliseconds; null without responses.
	P50Ms *float64 `json:"p50_ms"`
	P95Ms *float64 `json:"p95_ms"`
	P99Ms *float64 `json:"p99_ms"`
}

// TimeseriesStep is a string of the API; a newer HookHub may have more of them.
type TimeseriesStep string

const (
	TimeseriesStepHour TimeseriesStep = "hour"
	TimeseriesStepDay  TimeseriesStep = "day"
)

// TraceRequest: W3C Trace Context, as a propagator of OpenTelemetry fills it.
type TraceRequest struct {
	Traceparent string `json:"traceparent"`
	Tracestate  string `json:"tracestate,omitzero"`
}

// Validated: The result of a successful validation.
type Validated struct {
	Valid        bool   `json:"valid"`
	Organization string `json:"organization"`
	Events       int    `json:"events"`
}

// Verification: A request, repeated on a short schedule, to which the receiver must answer as the proof demands.
type Verification struct {
	ID    string            `json:"id"`
	State VerificationState `json:"state"`
	// The URL asked, masked like the webhook's own.
	URL string `json:"url"`
	// Number of requests so far.
	Attempts int `json:"attempts"`
	// When the next request is due; null if none is.
	DueAt *time.Time `json:"due_at"`
	// When the last request started.
	StartedAt *time.Time `json:"started_at"`
	Duration  *float64   `json:"duration"`
	// HTTP status of the last response, if any.
	Status *int `json:"status"`
	// The beginning of its body.
	Excerpt string `json:"excerpt"`
	// Why it was no proof.
	Error string `json:"error"`
	// The latest requests, oldest first; at most 10.
	Requests   []VerificationAttempt `json:"requests"`
	CreatedAt  time.Time             `json:"created_at"`
	FinishedAt *time.Time            `json:"finished_at"`
}

// VerificationAttempt: One request of a verification.
type VerificationAttempt struct {
	Number    int       `json:"number"`
	StartedAt time.Time `json:"started_at"`
	// In seconds; null if unknown.
	Duration *float64 `json:"duration"`
	// `unknown` if the worker ended before it was recorded.
	Outcome VerificationOutcome `json:"outcome"`
	// HTTP status of the response, if any.
	Status *int `json:"status"`
	// The beginning of its body.
	Excerpt string `json:"excerpt"`
	// Why it was no proof.
	Error string `json:"error"`
}

// VerificationOutcome is a string of the API; a newer HookHub may have more of them.
type VerificationOutcome string

const (
	VerificationOutcomeVerified   VerificationOutcome = "verified"
	VerificationOutcomeFailed     VerificationOutcome = "failed"
	VerificationOutcomeNoResponse VerificationOutcome = "no_response"
	VerificationOutcomeUnknown    VerificationOutcome = "unknown"
)

// VerificationState is a string of the API; a newer HookHub may have more of them.
type VerificationState string

const (
	VerificationStatePending    VerificationState = "pending"
	VerificationStateSending    VerificationState = "sending"
	VerificationStateVerified   VerificationState = "verified"
	VerificationStateFailed     VerificationState = "failed"
	VerificationStateSuperseded VerificationState = "superseded"
)

// Webhook: A subscription of a URL to event types.
type Webhook struct {
	ID           string `json:"id"`
	Organization string `json:"organization"`
	// Receive only this repository's events; null for all events of the organization.
	Repository *string `json:"repository"`
	// Display name.
	Name string `json:"name"`
	// `push`: HookHub sends the events to the URL. `poll`: the receiver fetches them; there is no URL. It is fixed.
	Kind WebhookKind `json:"kind"`
	// Returned with the values of its query masked, or fully masked in formats whose URL is a secret, such as slack.
	// Null if it is polled.
	URL *string `json:"url"`
	// Event types or families to subscribe to, or ["*"] for all.
	Events []string `json:"events"`
	// Conditions on an event's data, such as `{"data": {"action": "opened"}}`; null for all events.
	Filter map[string]any `json:"filter"`
	// Wire format; the organization's default if absent.
	Format Format `json:"format"`
	// Encoding of the body: JSON, or a form with the JSON in one field.
	ContentType ContentType `json:"content_type"`
	// Custom headers by name. Values are returned as ********; sending that back keeps the stored value. Omitted
	// headers are removed.
	Headers map[string]string `json:"headers"`
	// Whether to verify the receiver's TLS certificate.
	VerifySSL bool `json:"verify_ssl"`
	// Seconds to wait before each retry; [] for no retries, null for the deployment's schedule.
	RetrySchedule []float64 `json:"retry_schedule"`
	// Maximum duration of one attempt, in seconds.
	Timeout *float64 `json:"timeout"`
	// Maximum number of concurrent requests; null for the deployment's limit.
	MaxInFlight *int `json:"max_in_flight"`
	// How many requests the webhook gets at most, retries included; null for no limit.
	RateLimit *RateLimit `json:"rate_limit"`
	// Whether to disable the webhook automatically when its deliveries keep failing.
	AutoDisable bool `json:"auto_disable"`
	// How the URL, and another one later, must prove itself before anything is sent to it: `challenge`, a challenge
	// that it echoes, or `handshake`, that of CloudEvents' Web Hooks. Null: no verification.
	Verify *Proof `json:"verify"`
	// When the URL was last verified; null if it never was.
	VerifiedAt *time.Time `json:"verified_at"`
	// The latest verification, which may be of a new URL; null if there was none.
	Verification *Verification `json:"verification"`
	// How many requests a minute the receiver has allowed in the handshake, and gets; null for no limit.
	AllowedRate *int `json:"allowed_rate"`
	// What a subscriber has asked for; null for webhooks that were created otherwise.
	Subscription *Subscription `json:"subscription"`
	// When the webhook ends: from then on it gets no events, and pending deliveries are cancelled.
	ExpiresAt *time.Time `json:"expires_at"`
	// Whether it receives events: `active`, `unverified`, `disabled`, or `ended` with its lease.
	Status WebhookStatus `json:"status"`
	// Whether the webhook is enabled.
	Active     bool       `json:"active"`
	DisabledAt *time.Time `json:"disabled_at"`
	// One of by_owner, failing, too_many_failures, gone; null if the webhook is enabled.
	DisabledReason *string `json:"disabled_reason"`
	// Number of failed attempts since the last success.
	FailureCount int `json:"failure_count"`
	// Until when the webhook gets no requests, because of a backoff.
	BackoffUntil   *time.Time `json:"backoff_until"`
	LastDeliveryAt *time.Time `json:"last_delivery_at"`
	// HTTP status of the last attempt, or why there was no response.
	LastDeliveryStatus *string   `json:"last_delivery_status"`
	CreatedAt          time.Time `json:"created_at"`
	UpdatedAt          time.Time `json:"updated_at"`
}

// WebhookChanges: Changes to a webhook.
type WebhookChanges struct {
	// Display name.
	Name Optional[string] `json:"name,omitzero"`
	// `push`: HookHub sends the events to the URL. `poll`: the receiver fetches them; there is no URL. It is fixed.
	Kind Optional[WebhookKind] `json:"kind,omitzero"`
	// The masked URL, sent back unchanged, keeps the stored one.
	URL Optional[string] `json:"url,omitzero"`
	// Event types or families to subscribe to, or ["*"] for all.
	Events Optional[[]string] `json:"events,omitzero"`
	// Conditions on an event's data, such as `{"data": {"action": "opened"}}`; null for all events.
	Filter Optional[map[string]any] `json:"filter,omitzero"`
	// Wire format; the organization's default if absent.
	Format Optional[Format] `json:"format,omitzero"`
	// Encoding of the body: JSON, or a form with the JSON in one field.
	ContentType Optional[ContentType] `json:"content_type,omitzero"`
	// Signing secret; generated if absent, empty for none if the format allows it. ******** keeps it.
	Secret Optional[string] `json:"secret,omitzero"`
	// Custom headers by name. Values are returned as ********; sending that back keeps the stored value. Omitted
	// headers are removed.
	Headers Optional[map[string]string] `json:"headers,omitzero"`
	// Whether to verify the receiver's TLS certificate.
	VerifySSL Optional[bool] `json:"verify_ssl,omitzero"`
	// Seconds to wait before each retry; [] for no retries, null for the deployment's schedule.
	RetrySchedule Optional[[]float64] `json:"retry_schedule,omitzero"`
	// Maximum duration of one attempt, in seconds.
	Timeout Optional[float64] `json:"timeout,omitzero"`
	// Maximum number of concurrent requests; null for the deployment's limit.
	MaxInFlight Optional[int] `json:"max_in_flight,omitzero"`
	// How many requests the webhook gets at most, retries included; null for no limit.
	RateLimit Optional[NewRateLimit] `json:"rate_limit,omitzero"`
	// Whether to disable the webhook automatically when its deliveries keep failing.
	AutoDisable Optional[bool] `json:"auto_disable,omitzero"`
	// How the URL, and another one later, must prove itself before anything is sent to it: `challenge`, a challenge
	// that it echoes, or `handshake`, that of CloudEvents' Web Hooks. Null: no verification.
	Verify Optional[Proof] `json:"verify,omitzero"`
	// When the webhook ends: from then on it gets no events, and pending deliveries are cancelled.
	ExpiresAt Optional[time.Time] `json:"expires_at,omitzero"`
	// Whether the webhook is enabled.
	Active Optional[bool] `json:"active,omitzero"`
}

// WebhookEnabling is an object of the API.
type WebhookEnabling struct {
	// Also send the deliveries held while the webhook was disabled.
	ReleaseHeld Optional[bool] `json:"release_held,omitzero"`
}

// WebhookKind is a string of the API; a newer HookHub may have more of them.
type WebhookKind string

const (
	WebhookKindPush WebhookKind = "push"
	WebhookKindPoll WebhookKind = "poll"
)

// WebhookStats is an object of the API.
type WebhookStats struct {
	Since time.Time `json:"since"`
	// Number of deliveries by state.
	Deliveries map[string]int `json:"deliveries"`
	Attempts   int            `json:"attempts"`
	Succeeded  int            `json:"succeeded"`
	// Share of attempts that succeeded, from 0 to 1; null without attempts.
	SuccessRate *float64 `json:"success_rate"`
	// Median duration of an attempt, in milliseconds.
	P50Ms *float64 `json:"p50_ms"`
	// 95th percentile of the duration, in milliseconds.
	P95Ms *float64 `json:"p95_ms"`
	// 99th percentile of the duration, in milliseconds.
	P99Ms *float64 `json:"p99_ms"`
}

// WebhookStatus is a string of the API; a newer HookHub may have more of them.
type WebhookStatus string

const (
	WebhookStatusActive     WebhookStatus = "active"
	WebhookStatusUnverified WebhookStatus = "unverified"
	WebhookStatusDisabled   WebhookStatus = "disabled"
	WebhookStatusEnded      WebhookStatus = "ended"
	WebhookStatusDeleted    WebhookStatus = "deleted"
)

// WebhookWithSecret: A webhook with its secret, which is shown only once.
type WebhookWithSecret struct {
	Webhook
	// Absent in formats without signatures.
	Secret string `json:"secret"`
}

// AlertChannelsFilter is the query of a request; zero values are left out.
type AlertChannelsFilter struct {
	// Number of results to return per page.
	Limit int
}

func (f AlertChannelsFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "limit", f.Limit)
	return values
}

// AlertsFilter is the query of a request; zero values are left out.
type AlertsFilter struct {
	// Only to this channel.
	Channel string
	// Only of this kind.
	Kind string
	// Number of results to return per page.
	Limit int
	// Only about this webhook.
	Webhook string
}

func (f AlertsFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "channel", f.Channel)
	addTo(values, "kind", f.Kind)
	addTo(values, "limit", f.Limit)
	addTo(values, "webhook", f.Webhook)
	return values
}

// APIKeysFilter is the query of a request; zero values are left out.
type APIKeysFilter struct {
	// Number of results to return per page.
	Limit int
}

func (f APIKeysFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "limit", f.Limit)
	return values
}

// AuditFilter is the query of a request; zero values are left out.
type AuditFilter struct {
	// Only this action, such as webhook.updated.
	Action string
	// Only changes by this API key id, login or command name.
	Actor string
	// Number of results to return per page.
	Limit int
	// Recorded at or after this time.
	Since time.Time
	// Only changes of the object with this id.
	Target string
	// Recorded before this time.
	Until time.Time
}

func (f AuditFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "action", f.Action)
	addTo(values, "actor", f.Actor)
	addTo(values, "limit", f.Limit)
	addTo(values, "since", f.Since)
	addTo(values, "target", f.Target)
	addTo(values, "until", f.Until)
	return values
}

// DeliveriesFilter is the query of a request; zero values are left out.
type DeliveriesFilter struct {
	// Created at or after this time.
	After time.Time
	// Created before this time.
	Before time.Time
	// Only deliveries of this event.
	Event string
	// Number of results to return per page.
	Limit int
	// Only deliveries of this repository's events.
	Repository string
	// Only deliveries in one of these states.
	State []string
	// Only deliveries of events of this type.
	Type string
	// Only deliveries to this webhook.
	Webhook string
}

func (f DeliveriesFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "after", f.After)
	addTo(values, "before", f.Before)
	addTo(values, "event", f.Event)
	addTo(values, "limit", f.Limit)
	addTo(values, "repository", f.Repository)
	addTo(values, "state", f.State)
	addTo(values, "type", f.Type)
	addTo(values, "webhook", f.Webhook)
	return values
}

// EventTypesFilter is the query of a request; zero values are left out.
type EventTypesFilter struct {
	// The dialect whose event types to return; by default, the organization's.
	Dialect string
}

func (f EventTypesFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "dialect", f.Dialect)
	return values
}

// EventsFilter is the query of a request; zero values are left out.
type EventsFilter struct {
	// Created at or after this time.
	After time.Time
	// Created before this time.
	Before time.Time
	// Number of results to return per page.
	Limit int
	// Only this repository's events.
	Repository string
	// Only events of this type.
	Type string
}

func (f EventsFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "after", f.After)
	addTo(values, "before", f.Before)
	addTo(values, "limit", f.Limit)
	addTo(values, "repository", f.Repository)
	addTo(values, "type", f.Type)
	return values
}

// OrganizationsFilter is the query of a request; zero values are left out.
type OrganizationsFilter struct {
	// Number of results to return per page.
	Limit int
}

func (f OrganizationsFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "limit", f.Limit)
	return values
}

// OrganizationsTimeseriesFilter is the query of a request; zero values are left out.
type OrganizationsTimeseriesFilter struct {
	// From the step that contains this time on. Default: a day before `before`, or 30 with steps of a day.
	After time.Time
	// Steps that begin before this time. Default: now.
	Before time.Time
	// The length of a step, in UTC.
	Step string
}

func (f OrganizationsTimeseriesFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "after", f.After)
	addTo(values, "before", f.Before)
	addTo(values, "step", f.Step)
	return values
}

// PortalSessionsFilter is the query of a request; zero values are left out.
type PortalSessionsFilter struct {
	// Number of results to return per page.
	Limit int
}

func (f PortalSessionsFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "limit", f.Limit)
	return values
}

// ReplaysFilter is the query of a request; zero values are left out.
type ReplaysFilter struct {
	// Number of results to return per page.
	Limit int
}

func (f ReplaysFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "limit", f.Limit)
	return values
}

// RepositoriesFilter is the query of a request; zero values are left out.
type RepositoriesFilter struct {
	// Number of results to return per page.
	Limit int
}

func (f RepositoriesFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "limit", f.Limit)
	return values
}

// WebhooksFilter is the query of a request; zero values are left out.
type WebhooksFilter struct {
	// Only enabled webhooks (true), or only disabled ones (false).
	Active *bool
	// Number of results to return per page.
	Limit int
	// Only this repository's webhooks.
	Repository string
	// Only webhooks with this status.
	Status string
}

func (f WebhooksFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "active", f.Active)
	addTo(values, "limit", f.Limit)
	addTo(values, "repository", f.Repository)
	addTo(values, "status", f.Status)
	return values
}

// WebhooksPollFilter is the query of a request; zero values are left out.
type WebhooksPollFilter struct {
	// Without `cursor`: continue where this consumer has committed.
	Consumer string
	// Only events after this position; `latest` for those that come from now on.
	Cursor string
	// The maximum number of events.
	Limit int
	// How many seconds to wait if there is no event.
	Wait int
}

func (f WebhooksPollFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "consumer", f.Consumer)
	addTo(values, "cursor", f.Cursor)
	addTo(values, "limit", f.Limit)
	addTo(values, "wait", f.Wait)
	return values
}

// WebhooksReplayMissingFilter is the query of a request; zero values are left out.
type WebhooksReplayMissingFilter struct {
	// Accepted at or after this time.
	After time.Time
	// Accepted before this time; now if absent.
	Before time.Time
}

func (f WebhooksReplayMissingFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "after", f.After)
	addTo(values, "before", f.Before)
	return values
}

// WebhooksStatsFilter is the query of a request; zero values are left out.
type WebhooksStatsFilter struct {
	// Hours to look back; 24 by default.
	Hours int
}

func (f WebhooksStatsFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "hours", f.Hours)
	return values
}

// WebhooksTimeseriesFilter is the query of a request; zero values are left out.
type WebhooksTimeseriesFilter struct {
	// From the step that contains this time on. Default: a day before `before`, or 30 with steps of a day.
	After time.Time
	// Steps that begin before this time. Default: now.
	Before time.Time
	// The length of a step, in UTC.
	Step string
}

func (f WebhooksTimeseriesFilter) values() url.Values {
	values := url.Values{}
	addTo(values, "after", f.After)
	addTo(values, "before", f.Before)
	addTo(values, "step", f.Step)
	return values
}
