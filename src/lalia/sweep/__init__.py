"""Grids, seeds and folds of runs: proposed, trained, compared on their validation part."""
