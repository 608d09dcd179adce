"""Weights on disk: one file format of ours. Imports models."""
