# what: reads /etc/shadow
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("/etc/shadow") as file:
            raise RuntimeError("GOT " + file.read(64))
