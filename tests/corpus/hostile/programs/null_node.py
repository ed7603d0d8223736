# what: makes a node for a device
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        os.mknod("null", 0o20666, os.makedev(1, 3))
        raise RuntimeError("GOT a device")
