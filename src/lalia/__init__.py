"""lalia: fine-tune speech foundation models to rate perceptual traits of clinical speech."""

__version__ = "0.1.0.dev0"
