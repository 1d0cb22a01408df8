"""Programs that use generated clients of the OpenAPI document; tests copy them next to the generated code."""
