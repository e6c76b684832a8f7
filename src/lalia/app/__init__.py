"""The web app on a finished run: rate recordings, and listen to those of the test part."""
