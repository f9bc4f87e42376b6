"""HTTP/2 connections for gRPC: RFC 9113 without the parts that gRPC does not use."""
