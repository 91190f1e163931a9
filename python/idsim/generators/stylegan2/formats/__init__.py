"""The layouts of generators in checkpoints, each brought to the names and shapes of NVlabs' PyTorch code."""
