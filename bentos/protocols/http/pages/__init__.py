"""The pages for people and probes, and the OpenAPI document."""
