"""The gRPC front end: the Open Inference Protocol, health and reflection, on the project's own HTTP/2."""
