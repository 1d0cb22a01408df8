"""Programs that use what generators make of the OpenAPI document; tests copy them beside the generated code."""
