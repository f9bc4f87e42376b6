"""The gRPC front end: the Open Inference Protocol, health and reflection, over HTTP/2 connections of our own."""
