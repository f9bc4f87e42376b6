"""What runs in the environment `client`: gRPC as a caller has it."""
