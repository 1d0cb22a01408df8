import { notHookHub } from "./errors.js";

export interface Answer {
    response: Response;
    body: string;
}

// Far more than the API answers. The rest of a longer response is not read.
const MAX_BODY = 64 << 20;

/** Return the text of a response, or its beginning if it is too long. */
export async function textOf(response: Response): Promise<string> {
    if (!response.body) return response.text();
    const decoder = new TextDecoder();
    const reader = response.body.getReader();
    let text = "";
    for (let size = 0; size < MAX_BODY; ) {
        const { done, value } = await reader.read();
        if (done) return text + decoder.decode();
        size += value.length;
        text += decoder.decode(value, { stream: true });
    }
    await reader.cancel();
    return text;
}

/** Return the object in a successful response. */
export function parsed<Result>({ response, body }: Answer): Result {
    try {
        const found: unknown = JSON.parse(body);
        if (isObject(found)) return found as Result;
    } catch {
        // It is another program's response, such as a proxy's.
    }
    throw notHookHub(response, body);
}

/** Return the objects that a successful response lists. */
export function rowsOf<Row>(listed: unknown, { response, body }: Answer): Row[] {
    if (Array.isArray(listed) && listed.every(isObject)) return listed as Row[];
    throw notHookHub(response, body);
}

/** Return the query in the link to the next page, which is not that of this one, or null after the last page. */
export function nextOf(link: unknown, before: string, { response, body }: Answer): string | null {
    if (!link) return null;
    // Take only the query from the link: behind a proxy the server may not know its public address, and the key must not be
    // sent to any other host. A link back to the same page would loop forever.
    const query = String(link).split("#")[0]!.split("?").slice(1).join("?");
    const search = query && `?${query}`;
    if (typeof link !== "string" || search === before) throw notHookHub(response, body);
    return search;
}

function isObject(found: unknown): boolean {
    return typeof found === "object" && found !== null && !Array.isArray(found);
}
