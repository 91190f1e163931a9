"""StyleGAN2: every public checkpoint format, read without running code from it, and drawn as the originals do."""
