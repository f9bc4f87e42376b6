"""The messages of the Open Inference Protocol, of gRPC health checking and of gRPC reflection, as protoc makes them."""
