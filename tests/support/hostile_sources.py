"""Sources that try to hang, flood, forge or leave something behind; each with the cause it must end with."""

from tests.support.network_sources import DENSE, network

FORGED = """
import json, os, struct
text = json.dumps({"outcome": "lifted", "blobs": []}).encode()
frame = struct.pack(">I", len(text)) + text
"""

#: An ordinary user cannot fork at all; root can, and meets the deadline.
FORKS = "timeout sandbox"

#: Source, cause.
HOSTILE = {
    "endless loop": ("while True: pass\n", "timeout"),
    "endless loop in forward": (network("pass", "while True: pass"), "timeout"),
    "deaf to signals": (
        "import signal, time\nfor n in range(1, 31):\n    try: signal.signal(n, signal.SIG_IGN)\n"
        "    except OSError: pass\nwhile True: time.sleep(9)\n",
        "timeout",
    ),
    "memory bomb": ("kept = []\nwhile True: kept.append(bytearray(1 << 24))\n", "oom"),
    "huge tensor": (network("self.f = nn.Linear(1 << 20, 1 << 20)", "return x"), "oom"),
    "deep recursion": ("def f(): return f()\nf()\n", "lift_failed"),
    "double fork": (
        "import os, time\nif os.fork() == 0:\n    os.setsid()\n    os.fork()\n    time.sleep(600)\n"
        "time.sleep(600)\n",
        FORKS,
    ),
    "fork bomb": (
        "import os, time\nfor _ in range(6):\n    if os.fork() == 0: os.setpgid(0, 0)\ntime.sleep(600)\n",
        FORKS,
    ),
    "result flood": ("import os\nwhile True: os.write(3, bytes(65536))\n", "sandbox"),
    "silent exit": ("import os\nos._exit(0)\n", "sandbox"),
    "loud exit": ("import os\nos._exit(7)\n", "sandbox"),
    "sys.exit": ("import sys\nsys.exit(0)\n", "lift_failed"),
    "crash": ("import ctypes\nctypes.string_at(0)\n", "sandbox"),
    "forged result": (FORGED + "os.write(3, frame)\nos._exit(0)\n", "sandbox"),
    "two results": (FORGED + "os.write(3, frame)\n" + DENSE, "sandbox"),
    "half a result": ("import os\nos.write(3, b'\\0\\0\\0\\x10{')\nos._exit(0)\n", "sandbox"),
    "signal without a name": ("import os\nos.kill(os.getpid(), 40)\n", "sandbox"),
    "folder": ("import os\nos.mkdir('d')\n", "sandbox"),
    "giant file": ("with open('f', 'wb') as f:\n    f.write(bytes(1 << 22))\n", "sandbox"),
}
#: Honest networks that also misbehave in ways that are simply of no use.
USELESS = {
    "stdout flood": "import os\nprint('x' * (1 << 22))\nos.write(1, bytes(1 << 22))\n" + DENSE,
    "forged stdout": FORGED + "os.write(1, frame)\nos.write(2, frame)\n" + DENSE,
    "left-over process": (
        "import os, time\ntry: child = os.fork()\nexcept OSError: child = 1\n"
        "if child == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(600)\n    os._exit(0)\n" + DENSE
    ),
    "search for descriptors": (
        "import os\nopened = []\nfor n in range(4096):\n    try: os.fstat(n)\n    except OSError: continue\n"
        "    opened.append(n)\nassert opened == [0, 1, 2, 3], opened\nassert not os.environ\n" + DENSE
    ),
}
