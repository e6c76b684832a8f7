"""What training, prediction and probing cost, measured beside Hugging Face's Trainer and beside one bare forward."""
