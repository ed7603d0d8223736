# what: loads a pickle that runs a command
# kind: escape
# ends: lift_failed or sandbox
# stopped by: seccomp rlimits+user landlock

import torch
from torch import nn

pickle = __import__("pickle")


class Evil:
    def __reduce__(self):
        return torch.os.system, ("true",)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        data = pickle.dumps(Evil())
        with open("p", "wb") as file:
            file.write(data)
        result = torch.load("p", weights_only=False)
        if result != 0:
            raise OSError("no shell")
        raise RuntimeError("GOT a shell")
