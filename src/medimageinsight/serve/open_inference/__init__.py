"""The Open Inference Protocol, version 2, over HTTP and gRPC: images and texts as tensors, and their embeddings."""
