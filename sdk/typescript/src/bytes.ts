/** Return the bytes, or null if the text is not strictly base64. */
export function fromBase64(text: string): Uint8Array | null {
    if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) return null;
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
}

/** Return the bytes, or null if the text is not hexadecimal in lower case. */
export function fromHex(text: string): Uint8Array | null {
    if (!/^(?:[0-9a-f]{2})+$/.test(text)) return null;
    return Uint8Array.from(text.match(/../g)!, (pair) => Number.parseInt(pair, 16));
}

/** Return the value of a form's only field `payload`, or null if there are others. */
export function fromForm(body: Uint8Array): Uint8Array | null {
    const text = decode(body).slice("payload=".length);
    if (text.includes("&")) return null;
    const bytes: number[] = [];
    for (const part of text.replaceAll("+", " ").split(/(%[0-9A-Fa-f]{2})/)) {
        if (/^%[0-9A-Fa-f]{2}$/.test(part)) bytes.push(Number.parseInt(part.slice(1), 16));
        else for (const byte of part) bytes.push(byte.charCodeAt(0));
    }
    return Uint8Array.from(bytes);
}

/** Return one character for each byte. */
export function decode(body: Uint8Array): string {
    let text = "";
    for (let at = 0; at < body.length; at += 8192) text += String.fromCharCode(...body.subarray(at, at + 8192));
    return text;
}

/** Return text in UTF-8. */
export function encode(text: string): Uint8Array {
    return new TextEncoder().encode(text);
}

/** Return the raw body as bytes. */
export function bytesOf(body: Uint8Array | ArrayBuffer | string): Uint8Array {
    if (typeof body === "string") return encode(body);
    if (body instanceof Uint8Array) return body;
    if (body instanceof ArrayBuffer) return new Uint8Array(body);
    throw new TypeError("verify() requires the raw body: a Uint8Array, an ArrayBuffer or a string");
}

/** Return the bytes of both. */
export function concat(first: Uint8Array, second: Uint8Array): Uint8Array {
    const both = new Uint8Array(first.length + second.length);
    both.set(first);
    both.set(second, first.length);
    return both;
}

/** Return bytes as the Web Crypto API takes them; they are never in shared memory. */
export function buffer(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    return bytes as Uint8Array<ArrayBuffer>;
}
