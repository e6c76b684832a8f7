"""What a run knows of the items of the lists."""
