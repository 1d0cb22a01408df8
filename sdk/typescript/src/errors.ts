import type { Receipt } from "./types.js";

/** One invalid field of a request. */
export interface InvalidField {
    /** Where it is, such as `events[0].type`. */
    field: string;
    message: string;
}

/** The API rejected a request, or gave no usable response; `message` states the reason. */
export class HookHubError extends Error {
    override readonly name: string = "HookHubError";
    /** The HTTP status, or undefined when no response arrived. */
    readonly status: number | undefined;
    /**
     * The API's code, or the client's own: `connection_failed`, `redirected`, `not_hookhub` (a successful response that is
     * not the API's), `unknown` (an error response that is not the API's).
     */
    readonly code: string;
    /** The invalid fields of the request. */
    readonly fields: readonly InvalidField[];
    /** The receipts of events that were accepted before a batch failed. */
    published: readonly Receipt[] = [];

    constructor(
        message: string,
        about: { status?: number | undefined; code: string; fields?: readonly InvalidField[]; cause?: unknown },
    ) {
        super(message, about.cause === undefined ? undefined : { cause: about.cause });
        this.status = about.status;
        this.code = about.code;
        this.fields = about.fields ?? [];
    }
}

/** No response arrived: HookHub is unreachable, or did not answer within the timeout. */
export class ConnectionFailed extends HookHubError {
    override readonly name = "ConnectionFailed";
}

/** Return the error for a response that is not successful. */
export function rejection(response: Response, body: string): HookHubError {
    const { status } = response;
    if (isRedirect(response)) {
        const message = `HookHub redirects to ${response.headers.get("location") ?? "another address"}; use that as the URL.`;
        return new HookHubError(message, { status, code: "redirected" });
    }
    try {
        const { code, message, fields } = JSON.parse(body).error;
        if (typeof code === "string" && typeof message === "string") {
            const listed: InvalidField[] = Array.isArray(fields) ? fields : [];
            const said = [message, ...listed.map((one) => `${one.field}: ${one.message}`)].join(" ");
            return new HookHubError(`HookHub answered ${status} ${code}: ${said}`, { status, code, fields: listed });
        }
    } catch {
        // It is another program's response, such as a proxy's.
    }
    const message = `HookHub answered ${status}, but not with an API response: ${JSON.stringify(body.slice(0, 200))}`;
    return new HookHubError(message, { status, code: "unknown" });
}

/** Return the error for a successful response that the API cannot have sent. */
export function notHookHub(response: Response, body: string): HookHubError {
    const message = `The URL answered ${response.status}, but not with an API response: ${JSON.stringify(body.slice(0, 200))}`;
    return new HookHubError(message, { status: response.status, code: "not_hookhub" });
}

function isRedirect(response: Response): boolean {
    // Browsers hide the status and the address of a redirect that is not followed.
    return response.type === "opaqueredirect" || (response.status >= 300 && response.status < 400);
}
