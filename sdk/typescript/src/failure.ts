export type FailureCode =
    | "missing_header"
    | "malformed_header"
    | "wrong_signature"
    /** Too old, or in the future. */
    | "wrong_time"
    /** Signed, but not what the format sends. */
    | "invalid_body";

/** The request could not be verified as HookHub's and must be rejected. */
export class VerificationFailed extends Error {
    override readonly name = "VerificationFailed";

    constructor(
        message: string,
        readonly code: FailureCode,
    ) {
        super(message);
    }
}

/** Return the failure of a request that is signed, and is not what its format sends. */
export function invalidBody(reason: string): VerificationFailed {
    return new VerificationFailed(`The signature is valid, but ${reason}.`, "invalid_body");
}
