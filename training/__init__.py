"""How a classifier is made: corpus, split, fine-tuning, export, evaluation. Imports `model` only."""
