export { HookHub } from "./client.js";
export { ConnectionFailed, HookHubError, type InvalidField } from "./errors.js";
export type { Options } from "./transport.js";
export type * from "./types.js";
export {
    FORMATS,
    type FailureCode,
    type Format,
    type Received,
    type VerifyOptions,
    VerificationFailed,
    verify,
} from "./verify.js";
