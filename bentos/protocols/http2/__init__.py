"""HTTP/2 connections, for gRPC: RFC 9113 without what gRPC has no use for."""
