"""HTTP/1.1 connections (RFC 9112), within the limits of the server."""
