# what: makes a second name for the key in its own folder
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap user landlock seccomp

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        try:
            torch.os.link(VICTIM["secret"], "link")
        except OSError as error:
            if error.errno != 18:
                raise
            torch.os.link(VICTIM["secret"], VICTIM["writable"] + "/link")
        raise RuntimeError("GOT a link")
