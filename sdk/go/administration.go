package hookhub

import (
	"context"
	"iter"
)

// Organizations is client.Organizations: those that the key can see, by their slugs.
type Organizations struct{ c *Client }

// Create creates an organization; for operators' keys only.
func (r Organizations) Create(ctx context.Context, organization NewOrganization) (*Organization, error) {
	return post[Organization](ctx, r.c, organization, "organizations")
}

// List yields the organizations.
func (r Organizations) List(ctx context.Context, filter OrganizationsFilter) iter.Seq2[*Organization, error] {
	return pages[Organization](ctx, r.c, "organizations", filter.values())
}

// Get returns one organization.
func (r Organizations) Get(ctx context.Context, organization string) (*Organization, error) {
	return get[Organization](ctx, r.c, nil, "organizations", organization)
}

// Update sets the given fields.
func (r Organizations) Update(ctx context.Context, organization string, changes OrganizationChanges) (*Organization, error) {
	return patch[Organization](ctx, r.c, changes, "organizations", organization)
}

// Timeseries returns the statistics by hour or day.
func (r Organizations) Timeseries(ctx context.Context, organization string, query OrganizationsTimeseriesFilter) (*Timeseries, error) {
	return get[Timeseries](ctx, r.c, query.values(), "organizations", organization, "timeseries")
}

// PortalSettings returns the look of the portal.
func (r Organizations) PortalSettings(ctx context.Context, organization string) (*PortalSettings, error) {
	return get[PortalSettings](ctx, r.c, nil, "organizations", organization, "portal")
}

// UpdatePortalSettings sets the given fields of the portal's look.
func (r Organizations) UpdatePortalSettings(ctx context.Context, organization string, changes PortalSettingsChanges) (*PortalSettings, error) {
	return patch[PortalSettings](ctx, r.c, changes, "organizations", organization, "portal")
}

// Repositories is client.Repositories: what events are about, by their names.
type Repositories struct{ c *Client }

// Create creates a repository.
func (r Repositories) Create(ctx context.Context, repository NewRepository) (*Repository, error) {
	return post[Repository](ctx, r.c, repository, "repositories")
}

// List yields the repositories.
func (r Repositories) List(ctx context.Context, filter RepositoriesFilter) iter.Seq2[*Repository, error] {
	return pages[Repository](ctx, r.c, "repositories", filter.values())
}

// Get returns one repository.
func (r Repositories) Get(ctx context.Context, repository string) (*Repository, error) {
	return get[Repository](ctx, r.c, nil, "repositories", repository)
}

// Update sets the given fields.
func (r Repositories) Update(ctx context.Context, repository string, changes RepositoryChanges) (*Repository, error) {
	return patch[Repository](ctx, r.c, changes, "repositories", repository)
}

// Delete deletes a repository with its webhooks.
func (r Repositories) Delete(ctx context.Context, repository string) error {
	return remove(ctx, r.c, "repositories", repository)
}

// EventTypes is client.EventTypes: the catalogue.
type EventTypes struct{ c *Client }

// Create registers an event type; Schema is a JSON Schema of its data.
func (r EventTypes) Create(ctx context.Context, eventType NewEventType) (*EventType, error) {
	return post[EventType](ctx, r.c, eventType, "event-types")
}

// List returns the event types of a dialect, and the organization's own.
func (r EventTypes) List(ctx context.Context, filter EventTypesFilter) ([]EventType, error) {
	return all[EventType](ctx, r.c, "results", filter.values(), "event-types")
}

// Get returns one event type with its schema and its example.
func (r EventTypes) Get(ctx context.Context, name string, query EventTypesFilter) (*EventType, error) {
	return get[EventType](ctx, r.c, query.values(), "event-types", name)
}

// Update sets the given fields.
func (r EventTypes) Update(ctx context.Context, name string, changes EventTypeChanges) (*EventType, error) {
	return patch[EventType](ctx, r.c, changes, "event-types", name)
}

// Delete deletes an event type.
func (r EventTypes) Delete(ctx context.Context, name string) error {
	return remove(ctx, r.c, "event-types", name)
}

// APIKeys is client.APIKeys. The id of a key is not secret.
type APIKeys struct{ c *Client }

// Create creates a key. Its text, Key, is in this response only. Not repeated after a timeout.
func (r APIKeys) Create(ctx context.Context, key NewAPIKey) (*APIKeyWithText, error) {
	return post[APIKeyWithText](ctx, r.c, key, "api-keys")
}

// List yields the keys.
func (r APIKeys) List(ctx context.Context, filter APIKeysFilter) iter.Seq2[*APIKey, error] {
	return pages[APIKey](ctx, r.c, "api-keys", filter.values())
}

// Get returns one key.
func (r APIKeys) Get(ctx context.Context, id string) (*APIKey, error) {
	return get[APIKey](ctx, r.c, nil, "api-keys", id)
}

// Update sets the given fields.
func (r APIKeys) Update(ctx context.Context, id string, changes APIKeyChanges) (*APIKey, error) {
	return patch[APIKey](ctx, r.c, changes, "api-keys", id)
}

// Roll replaces a key's text; the old one works until the overlap ends. Not repeated after a timeout.
func (r APIKeys) Roll(ctx context.Context, id string, how APIKeyRoll) (*APIKeyWithText, error) {
	return post[APIKeyWithText](ctx, r.c, how, "api-keys", id, "roll")
}

// Revoke revokes a key at once.
func (r APIKeys) Revoke(ctx context.Context, id string) error {
	return remove(ctx, r.c, "api-keys", id)
}

// AuditLog is client.AuditLog: who changed what.
type AuditLog struct{ c *Client }

// List yields the entries that match every given filter, newest first.
func (r AuditLog) List(ctx context.Context, filter AuditFilter) iter.Seq2[*AuditEntry, error] {
	return pages[AuditEntry](ctx, r.c, "audit", filter.values())
}

// AlertChannels is client.AlertChannels: where alerts are sent.
type AlertChannels struct{ c *Client }

// Create creates a channel.
func (r AlertChannels) Create(ctx context.Context, channel NewAlertChannel) (*AlertChannelWithSecret, error) {
	return post[AlertChannelWithSecret](ctx, r.c, channel, "alert-channels")
}

// List yields the channels.
func (r AlertChannels) List(ctx context.Context, filter AlertChannelsFilter) iter.Seq2[*AlertChannel, error] {
	return pages[AlertChannel](ctx, r.c, "alert-channels", filter.values())
}

// Get returns one channel.
func (r AlertChannels) Get(ctx context.Context, channel string) (*AlertChannel, error) {
	return get[AlertChannel](ctx, r.c, nil, "alert-channels", channel)
}

// Update sets the given fields.
func (r AlertChannels) Update(ctx context.Context, channel string, changes AlertChannelChanges) (*AlertChannel, error) {
	return patch[AlertChannel](ctx, r.c, changes, "alert-channels", channel)
}

// Delete deletes a channel.
func (r AlertChannels) Delete(ctx context.Context, channel string) error {
	return remove(ctx, r.c, "alert-channels", channel)
}

// RotateSecret replaces the secret, which is in this response only; the old one signs as well until the overlap ends.
func (r AlertChannels) RotateSecret(ctx context.Context, channel string, rotation AlertChannelRotation) (*AlertChannelWithSecret, error) {
	return post[AlertChannelWithSecret](ctx, r.c, rotation, "alert-channels", channel, "rotate-secret")
}

// Test sends a test alert through the channel.
func (r AlertChannels) Test(ctx context.Context, channel string) (*Alert, error) {
	return post[Alert](ctx, r.c, nil, "alert-channels", channel, "test")
}

// Alerts is client.Alerts: the alerts that were sent.
type Alerts struct{ c *Client }

// List yields the alerts that match every given filter, newest first.
func (r Alerts) List(ctx context.Context, filter AlertsFilter) iter.Seq2[*Alert, error] {
	return pages[Alert](ctx, r.c, "alerts", filter.values())
}

// Get returns one alert.
func (r Alerts) Get(ctx context.Context, alert string) (*Alert, error) {
	return get[Alert](ctx, r.c, nil, "alerts", alert)
}

// PortalSessions is client.PortalSessions: links by which people manage webhooks.
type PortalSessions struct{ c *Client }

// Create creates a session. Its URL is the link, and is in this response only.
func (r PortalSessions) Create(ctx context.Context, session NewPortalSession) (*PortalLink, error) {
	return post[PortalLink](ctx, r.c, session, "portal-sessions")
}

// List yields the sessions.
func (r PortalSessions) List(ctx context.Context, filter PortalSessionsFilter) iter.Seq2[*PortalSession, error] {
	return pages[PortalSession](ctx, r.c, "portal-sessions", filter.values())
}

// Get returns one session.
func (r PortalSessions) Get(ctx context.Context, session string) (*PortalSession, error) {
	return get[PortalSession](ctx, r.c, nil, "portal-sessions", session)
}

// Revoke ends a session at once.
func (r PortalSessions) Revoke(ctx context.Context, session string) error {
	return remove(ctx, r.c, "portal-sessions", session)
}
