"""The HTTP front end: `/predict`, the Open Inference Protocol, and the pages for people and probes, on the project's own HTTP/1.1."""
