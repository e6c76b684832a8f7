"""Waveform to frames to embedding to scores: pure torch, no settings and no tables."""
