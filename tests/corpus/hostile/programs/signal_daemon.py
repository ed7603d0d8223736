# what: ends the daemon
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.os.kill(VICTIM["daemon"], 15)
        raise RuntimeError("GOT the daemon")
