# what: reads the key by a link in its own folder
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.symlink(VICTIM["secret"], "link")
        with open("link") as file:
            raise RuntimeError("GOT " + file.read())
