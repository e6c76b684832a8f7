"""What is known about the recordings: table, audio, parts, batches."""
