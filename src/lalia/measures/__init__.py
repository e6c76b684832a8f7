"""Numbers from ratings and scores: pure functions on numpy."""
