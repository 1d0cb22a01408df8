import crypto from 'crypto';
export function createSignature(payload: any, secret: string): string {
const body = JSON.stringify(payload);
const hmac = crypto.createHmac('sha256', secret);
hmac.update(body);
return `sha256=${hmac.digest('hex')}`;
}
export function verifySignature(
payload: string,
signature: string,
secret: string
): boolean {
const expected = createSignature(payload, secret);
// Use timing-safe comparison
try {
return crypto.timingSafeEqual(
Buffer.from(signature),
Buffer.from(expected)
);
} catch {
return false;
}
}
