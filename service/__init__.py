"""How a classifier is asked: HTTP, settings, queue, metrics. Imports `model` only."""
