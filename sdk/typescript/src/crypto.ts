/** Return the Web Crypto API; Node 18 has it only in a module. */
export async function webCrypto(): Promise<Crypto> {
    if (globalThis.crypto?.subtle) return globalThis.crypto;
    // Not a literal, so that bundlers for browsers do not look for it.
    const name = "node:crypto";
    return (await import(name)).webcrypto;
}
