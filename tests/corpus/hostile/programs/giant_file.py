# what: a file of 1 GiB, most of it a hole
# kind: resources
# ends: sandbox
# stopped by: landlock seccomp rlimits

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("giant", "wb") as file:
            file.seek(1 << 30)
            file.write(b"x")
        raise RuntimeError("GOT 1 GiB")
