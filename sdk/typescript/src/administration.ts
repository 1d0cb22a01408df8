import { Resource } from "./resource.js";
import { pathOf } from "./transport.js";
import type * as t from "./types.js";

/** `hookhub.organizations`: those that the key can see; `organization` is a slug. */
export class Organizations extends Resource {
    /** Create an organization; for operators' keys only. */
    create(organization: t.NewOrganization): Promise<t.Organization> {
        return this.transport.json("POST", "organizations", { body: organization });
    }

    list(query: t.Query<"organizations_list"> = {}): AsyncGenerator<t.Organization, void, undefined> {
        return this.transport.pages("organizations", query);
    }

    get(organization: string): Promise<t.Organization> {
        return this.transport.json("GET", pathOf("organizations", organization));
    }

    update(organization: string, changes: t.OrganizationChanges): Promise<t.Organization> {
        return this.transport.json("PATCH", pathOf("organizations", organization), { body: changes });
    }

    timeseries(organization: string, query: t.Query<"organizations_timeseries_retrieve"> = {}): Promise<t.Timeseries> {
        return this.transport.json("GET", pathOf("organizations", organization, "timeseries"), { query });
    }

    /** Return the look of the organization's portal. */
    portalSettings(organization: string): Promise<t.PortalSettings> {
        return this.transport.json("GET", pathOf("organizations", organization, "portal"));
    }

    updatePortalSettings(organization: string, changes: t.PortalSettingsChanges): Promise<t.PortalSettings> {
        return this.transport.json("PATCH", pathOf("organizations", organization, "portal"), { body: changes });
    }
}

/** `hookhub.repositories`: what events are about; `repository` is a name. */
export class Repositories extends Resource {
    create(repository: t.NewRepository): Promise<t.Repository> {
        return this.transport.json("POST", "repositories", { body: repository });
    }

    list(query: t.Query<"repositories_list"> = {}): AsyncGenerator<t.Repository, void, undefined> {
        return this.transport.pages("repositories", query);
    }

    get(repository: string): Promise<t.Repository> {
        return this.transport.json("GET", pathOf("repositories", repository));
    }

    update(repository: string, changes: t.RepositoryChanges): Promise<t.Repository> {
        return this.transport.json("PATCH", pathOf("repositories", repository), { body: changes });
    }

    /** Delete a repository with its webhooks. */
    async delete(repository: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("repositories", repository), { doneStatus: 404 });
    }
}

/** `hookhub.eventTypes`: the catalogue. */
export class EventTypes extends Resource {
    /** Register an event type; `schema` is a JSON Schema of its data. */
    create(eventType: t.NewEventType): Promise<t.EventType> {
        return this.transport.json("POST", "event-types", { body: eventType });
    }

    /** Return the event types of a dialect, and the organization's own. */
    list(query: t.Query<"event_types_list"> = {}): Promise<t.EventType[]> {
        return this.transport.rows("event-types", "results", { query });
    }

    get(type: string, query: t.Query<"event_types_retrieve"> = {}): Promise<t.EventType> {
        return this.transport.json("GET", pathOf("event-types", type), { query });
    }

    update(type: string, changes: t.EventTypeChanges): Promise<t.EventType> {
        return this.transport.json("PATCH", pathOf("event-types", type), { body: changes });
    }

    async delete(type: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("event-types", type), { doneStatus: 404 });
    }
}

/** `hookhub.apiKeys`; `apiKey` is the id of a key, which is not secret. */
export class ApiKeys extends Resource {
    /** Create a key; its text, `key`, is in this response only. Not repeated after a timeout. */
    create(apiKey: t.NewApiKey): Promise<t.ApiKeyWithText> {
        return this.transport.json("POST", "api-keys", { body: apiKey });
    }

    list(query: t.Query<"api_keys_list"> = {}): AsyncGenerator<t.ApiKey, void, undefined> {
        return this.transport.pages("api-keys", query);
    }

    get(apiKey: string): Promise<t.ApiKey> {
        return this.transport.json("GET", pathOf("api-keys", apiKey));
    }

    update(apiKey: string, changes: t.ApiKeyChanges): Promise<t.ApiKey> {
        return this.transport.json("PATCH", pathOf("api-keys", apiKey), { body: changes });
    }

    /** Replace a key's text; the old one works until the overlap ends. Not repeated after a timeout. */
    roll(apiKey: string, roll: t.ApiKeyRoll = {}): Promise<t.ApiKeyWithText> {
        return this.transport.json("POST", pathOf("api-keys", apiKey, "roll"), { body: roll });
    }

    /** Revoke a key at once. */
    async revoke(apiKey: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("api-keys", apiKey), { doneStatus: 404 });
    }
}

/** `hookhub.auditLog`: who changed what. */
export class AuditLog extends Resource {
    list(query: t.Query<"audit_list"> = {}): AsyncGenerator<t.AuditEntry, void, undefined> {
        return this.transport.pages("audit", query);
    }
}

/** `hookhub.alertChannels`: where alerts are sent. */
export class AlertChannels extends Resource {
    create(channel: t.NewAlertChannel): Promise<t.AlertChannelWithSecret> {
        return this.transport.json("POST", "alert-channels", { body: channel });
    }

    list(query: t.Query<"alert_channels_list"> = {}): AsyncGenerator<t.AlertChannel, void, undefined> {
        return this.transport.pages("alert-channels", query);
    }

    get(channel: string): Promise<t.AlertChannel> {
        return this.transport.json("GET", pathOf("alert-channels", channel));
    }

    update(channel: string, changes: t.AlertChannelChanges): Promise<t.AlertChannel> {
        return this.transport.json("PATCH", pathOf("alert-channels", channel), { body: changes });
    }

    async delete(channel: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("alert-channels", channel), { doneStatus: 404 });
    }

    /** Replace the secret, which is in this response only; the old one signs as well until the overlap ends. */
    rotateSecret(channel: string, rotation: t.AlertChannelRotation = {}): Promise<t.AlertChannelWithSecret> {
        return this.transport.json("POST", pathOf("alert-channels", channel, "rotate-secret"), { body: rotation });
    }

    /** Send a test alert through the channel. */
    test(channel: string): Promise<t.Alert> {
        return this.transport.json("POST", pathOf("alert-channels", channel, "test"));
    }
}

/** `hookhub.alerts`: the alerts that were sent. */
export class Alerts extends Resource {
    list(query: t.Query<"alerts_list"> = {}): AsyncGenerator<t.Alert, void, undefined> {
        return this.transport.pages("alerts", query);
    }

    get(alert: string): Promise<t.Alert> {
        return this.transport.json("GET", pathOf("alerts", alert));
    }
}

/** `hookhub.portalSessions`: links by which people manage webhooks. */
export class PortalSessions extends Resource {
    /** Create a session; `url` is the link, and is in this response only. */
    create(session: t.NewPortalSession = {}): Promise<t.PortalLink> {
        return this.transport.json("POST", "portal-sessions", { body: session });
    }

    list(query: t.Query<"portal_sessions_list"> = {}): AsyncGenerator<t.PortalSession, void, undefined> {
        return this.transport.pages("portal-sessions", query);
    }

    get(session: string): Promise<t.PortalSession> {
        return this.transport.json("GET", pathOf("portal-sessions", session));
    }

    /** End a session at once. */
    async revoke(session: string): Promise<void> {
        await this.transport.call("DELETE", pathOf("portal-sessions", session), { doneStatus: 404 });
    }
}
