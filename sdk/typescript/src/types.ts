import type { components, operations } from "./api.js";

type Schemas = components["schemas"];

/** The query of a list, by its operation; pages are fetched as needed, `limit` at a time. */
export type Query<Operation extends keyof operations> = Omit<
    NonNullable<operations[Operation]["parameters"]["query"]>,
    "cursor"
>;

/** What to fetch of a polling webhook. */
export type PollQuery = NonNullable<operations["webhooks_poll_retrieve"]["parameters"]["query"]>;

/** An event to publish. */
export interface NewEvent {
    /** A dotted name such as `issues.opened`. */
    type: string;
    /** Any JSON value, up to 1 MiB of JSON unless the server is configured otherwise. */
    data: unknown;
    /** The idempotency key, unique within the organization; without one the client generates it. */
    id?: string | undefined;
    /** `widgets` or `acme/widgets`. */
    repository?: string | undefined;
    /** When it happened; the default is the time of acceptance. */
    timestamp?: Date | string | undefined;
    /** A slug; for operators' keys only. */
    organization?: string | undefined;
}

/** HookHub has stored the event and will deliver it; `id` is its id at HookHub, not the idempotency key. */
export type Receipt = Schemas["Receipt"] & {
    /** Whether every event of the request had been published before, so that nothing new was stored. */
    replayed: boolean;
};

export type Alert = Schemas["Alert"];
export type AlertChannel = Schemas["AlertChannel"];
export type NewlyCreatedAlertChannel = Schemas["NewlyCreatedAlertChannel"];
export type NewAlertChannel = Schemas["NewAlertChannelRequest"];
export type ChannelRotation = Schemas["ChannelRotationRequest"];
export type AlertChannelChanges = Schemas["PatchedAlertChannelChangesRequest"];
export type ApiKey = Schemas["ApiKey"];
export type ApiKeyWithText = Schemas["ApiKeyWithText"];
export type NewApiKey = Schemas["ApiKeyRequest"];
export type ApiKeyChanges = Schemas["PatchedApiKeyChangesRequest"];
export type Roll = Schemas["RollRequest"];
export type AuditEntry = Schemas["AuditEntry"];
export type Delivery = Schemas["Delivery"];
export type DeliveryDetail = Schemas["DeliveryDetail"];
export type Event = Schemas["Event"];
export type EventDetail = Schemas["EventDetail"];
export type EventType = Schemas["EventType"];
export type NewEventType = Schemas["EventTypeRequest"];
export type EventTypeChanges = Schemas["PatchedEventTypeRequest"];
export type Meta = Schemas["Meta"];
export type MissingCount = Schemas["MissingCount"];
export type MissingReplay = Schemas["NewMissingReplayRequest"];
export type Organization = Schemas["Organization"];
export type NewOrganization = Schemas["OrganizationRequest"];
export type OrganizationChanges = Schemas["PatchedOrganizationRequest"];
export type Poll = Schemas["Poll"];
export type PollConsumer = Schemas["PollConsumer"];
export type PolledEvent = Schemas["PolledEvent"];
export type PortalLink = Schemas["PortalLink"];
export type PortalSession = Schemas["PortalSession"];
export type NewPortalSession = Schemas["NewPortalSessionRequest"];
export type PortalSettings = Schemas["PortalSettings"];
export type PortalSettingsChanges = Schemas["PatchedPortalSettingsRequest"];
export type Replay = Schemas["Replay"];
export type NewReplay = Schemas["NewReplayRequest"];
export type Repository = Schemas["Repository"];
export type NewRepository = Schemas["RepositoryRequest"];
export type RepositoryChanges = Schemas["PatchedRepositoryRequest"];
export type Stats = Schemas["Stats"];
export type TestEvent = Schemas["TestRequest"];
export type Timeseries = Schemas["Timeseries"];
export type Validated = Schemas["Validated"];
export type Webhook = Schemas["Webhook"];
export type WebhookWithSecret = Schemas["WebhookWithSecret"];
export type ChangedWebhook = Schemas["ChangedWebhook"];
export type EnabledWebhook = Schemas["EnabledWebhook"];
export type DisabledWebhook = Schemas["DisabledWebhook"];
export type NewWebhook = Schemas["WebhookRequest"];
export type WebhookChanges = Schemas["PatchedWebhookRequest"];
export type Rotation = Schemas["RotationRequest"];
