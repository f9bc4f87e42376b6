"""The wire: HTTP and gRPC front ends, and the Open Inference Protocol that both speak."""
