import type { Transport } from "./transport.js";

/** One of the API's resources. */
export class Resource {
    constructor(protected readonly transport: Transport) {}
}
