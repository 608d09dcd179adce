"""Modules made of the operations: the non-local block (Sec. 3.3). Imports ops."""
