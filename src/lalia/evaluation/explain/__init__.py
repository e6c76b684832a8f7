"""What a rater has learned: where it listens, what its scores depend on, what training changed."""
