# what: starts workers as any training script does
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        loader = torch.utils.data.DataLoader(torch.zeros(4, 1), num_workers=1)
        raise RuntimeError(f"GOT {next(iter(loader))} from a worker")
