"""Waveform to frames to embedding to scores: pure torch, no settings and no tables."""

from lalia.versions import check_versions

check_versions()
