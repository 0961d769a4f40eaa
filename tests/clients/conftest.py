"""Settings of all files."""

import torch

torch.set_num_threads(1)  # tensors are small here: threads would only wait for each other
