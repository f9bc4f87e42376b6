"""HTTP/1.1 connections (RFC 9112): requests in, answers out, within the limits of the server."""
