"""The front ends over HTTP and gRPC, and the Open Inference Protocol that both speak."""
