# what: raises its own limits again, as root may
# kind: resources
# ends: lift_failed or sandbox
# unproven: in a container not even root may do so
# stopped by: user bubblewrap seccomp

from torch import nn

resource = __import__("resource")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, 512))
        raise RuntimeError(f"GOT {resource.getrlimit(resource.RLIMIT_NOFILE)}")
