# what: opens the pipe by which the warm parent answers the daemon
# kind: escape
# ends: lift_failed or sandbox
# stopped by: user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        parent = f"/proc/{torch.os.getppid()}/fd"
        for name in torch.os.listdir(parent):
            if torch.os.readlink(f"{parent}/{name}").startswith("pipe:"):
                with open(f"{parent}/{name}", "wb", buffering=0):
                    raise RuntimeError(f"GOT the parent's descriptor {name}")
