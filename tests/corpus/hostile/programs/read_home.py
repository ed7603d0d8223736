# what: reads what everybody may read in the daemon's home
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        names = sorted(torch.os.listdir(VICTIM["home"]))
        with open(VICTIM["home"] + "/" + names[-1]) as file:
            raise RuntimeError("GOT " + file.read())
