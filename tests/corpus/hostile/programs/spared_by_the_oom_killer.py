# what: tells the kernel to kill others first when memory runs out
# kind: resources
# ends: lift_failed or sandbox
# unproven: in a container not even root may do so
# stopped by: user bubblewrap landlock

from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("-500")
        raise RuntimeError("GOT a lower score")
