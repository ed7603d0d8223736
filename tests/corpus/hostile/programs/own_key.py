# what: makes the key its own
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.chown(VICTIM["secret"], 65534, 65534)
        raise RuntimeError("GOT its owner")
