"""The training loop and its saved state."""

from lalia.versions import check_versions

check_versions()
