"""Face recognition networks as PyTorch modules for inference, with the names of the public state dicts."""
