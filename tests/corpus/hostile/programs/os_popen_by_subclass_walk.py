# what: finds the system function by a walk over all subclasses, without an import
# kind: escape
# ends: lift_failed or sandbox
# stopped by: landlock seccomp rlimits+user

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        walk = [c for c in ().__class__.__base__.__subclasses__() if c.__name__ == "_wrap_close"]
        if walk[0].__init__.__globals__["system"]("true") != 0:
            raise OSError("no shell")
        raise RuntimeError("GOT a shell")
