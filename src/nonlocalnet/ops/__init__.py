"""Pure functions of tensors: Equations 1 to 5 of the paper. Imports nothing of ours."""
