import { invalidBody } from "./failure.js";

/** Return the object in a body, which has these fields. */
export function envelope(body: Uint8Array, typeIn: string, needs: readonly string[]): Record<string, unknown> {
    const parsed = json(body);
    if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
        throw invalidBody("the body is not an object");
    const missing = [typeIn, ...needs].filter((name) => !Object.hasOwn(parsed, name));
    if (missing.length) throw invalidBody(`fields are missing from the body: ${missing.join(", ")}`);
    const found = parsed as Record<string, unknown>;
    if (typeof found[typeIn] !== "string") throw invalidBody(`"${typeIn}" in the body is not a string`);
    return found;
}

/** Parse a body in UTF-8. */
export function json(body: Uint8Array): unknown {
    try {
        // A byte order mark stays, and is not JSON.
        return JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
    } catch {
        throw invalidBody("the body is not valid JSON");
    }
}

/** Return a time, or null if the text is none. */
export function rfc3339(text: string): Date | null {
    const found =
        /^(\d{4})-(\d{2})-(\d{2})[Tt](\d{2}):(\d{2}):(\d{2})(?:\.(\d{1,30}))?(?:[Zz]|([+-])(\d{2}):(\d{2}))$/.exec(
            text,
        );
    if (!found) return null;
    const [year, month, day, hour, minute, second] = found.slice(1, 7).map(Number) as [
        number,
        number,
        number,
        number,
        number,
        number,
    ];
    const at = new Date(
        Date.UTC(year, month - 1, day, hour, minute, second, Number((found[7] ?? "").slice(0, 3).padEnd(3, "0"))),
    );
    at.setUTCFullYear(year, month - 1, day);
    // Date accepts February 30 as March 2.
    const isReal = at.getUTCMonth() === month - 1 && at.getUTCDate() === day && hour < 24 && minute < 60 && second < 60;
    const [zoneHours, zoneMinutes] = [Number(found[9] ?? 0), Number(found[10] ?? 0)];
    if (!isReal || year === 0 || zoneHours > 23 || zoneMinutes > 59) return null;
    const offset = (zoneHours * 60 + zoneMinutes) * 60_000;
    return new Date(at.getTime() - (found[8] === "-" ? -offset : offset));
}

/** Return a Unix time in whole seconds, or null if the text is none. */
export function seconds(text: string): Date | null {
    // Enough until the year 5138.
    return /^[0-9]{1,11}$/.test(text) ? new Date(Number(text) * 1000) : null;
}
