"""Training, testing, prediction, explanation. Imports data, weights, and so models and nn."""
