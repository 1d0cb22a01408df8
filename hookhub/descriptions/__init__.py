"""What the API says about itself: OpenAPI's layout, what receivers get, AsyncAPI, JSON Schemas, llms.txt."""
