"""Training: from a recipe and a folder of volumes to a model bundle, on one machine or many."""
