# what: renames the machine, to the name that it has
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        socket = __import__("socket")
        socket.sethostname(socket.gethostname())
        raise RuntimeError("GOT the name")
