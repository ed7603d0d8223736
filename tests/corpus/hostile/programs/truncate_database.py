# what: cuts off the search's database
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.truncate(VICTIM["state"] + "/llmatic.sqlite", 100)
        raise RuntimeError("GOT it cut off")
