"""Calls of other libraries, answered by idsim: change one import line.

`idsim.compat.faiss`, `idsim.compat.sklearn`, `idsim.compat.sentence_transformers` and `idsim.compat.torch_op`. None
needs the library that it stands for; `torch_op` needs PyTorch. What is the same and what differs: ``docs/drop-in.md``.
"""
