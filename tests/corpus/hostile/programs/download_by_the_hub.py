# what: downloads weights as torch.hub does
# kind: escape
# ends: lift_failed or sandbox
# stopped by: bubblewrap landlock seccomp rlimits

import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.hub.download_url_to_file(f"http://127.0.0.1:{VICTIM['port']}/w", "w", progress=False)
        raise RuntimeError("GOT weights")
