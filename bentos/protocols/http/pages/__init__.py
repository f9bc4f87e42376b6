"""Pages for people, and the OpenAPI document."""
