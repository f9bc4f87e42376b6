"""Programs of the environment `client`: gRPC by grpcio, as a caller uses it."""
