# what: changes the key's date, so that a daemon that watches it reloads
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.utime(VICTIM["secret"], (0, 0))
        raise RuntimeError("GOT its date")
