# what: lets everybody read the key
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.chmod(VICTIM["secret"], 0o644)
        raise RuntimeError("GOT its mode")
