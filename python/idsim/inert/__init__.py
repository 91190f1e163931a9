"""Pickles and `torch.save` files from strangers, read as plain records: nothing named in them is imported or called."""
