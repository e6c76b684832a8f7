"""Folders that other tools write, read as tables."""
