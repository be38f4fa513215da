"""Search for the hyperparameters that do best: dense grids over a model, and studies on any number of machines."""
