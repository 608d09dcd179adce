"""Weights on disk: our file format, and those of other projects. Imports models and nn."""
