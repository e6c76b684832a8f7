"""What training, prediction and probing cost, measured beside Hugging Face's Trainer and beside one bare forward."""

import os

# set before torch is loaded, on all sides alike: threads that spin while they wait make another program on the machine
# slow down the one that is measured all the more
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
