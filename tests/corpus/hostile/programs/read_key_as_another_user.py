# what: becomes root again, then reads the key
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for ids in (os.setresgid, os.setresuid):
            ids(0, 0, 0)
        with open(VICTIM["secret"]) as file:
            raise RuntimeError("GOT " + file.read())
