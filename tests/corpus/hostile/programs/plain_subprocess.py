# what: imports subprocess
# kind: escape
# ends: no_class
# says: is not allowed
# stopped by: triage

import subprocess

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        raise RuntimeError(f"GOT {subprocess.PIPE}")
