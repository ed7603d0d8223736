# what: changes its root, the first half of a known way out
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.chroot(".")
        raise RuntimeError("GOT a root")
