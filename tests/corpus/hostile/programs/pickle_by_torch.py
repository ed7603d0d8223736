# what: loads a pickle that runs a command
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp rlimits+user

import torch
from torch import nn

io = __import__("io")


class Evil:
    def __reduce__(self):
        return torch.os.system, ("true",)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        file = io.BytesIO()
        torch.save(Evil(), file)
        file.seek(0)
        if torch.load(file, weights_only=False) != 0:
            raise OSError("no shell")
        raise RuntimeError("GOT a shell")
