"""From a rater and recordings to scores, and from scores to numbers."""
