"""A foreign OpenAI-compatible server: `transformers serve` with a random CodeGen of 154,000 parameters.

Nothing is downloaded: configuration, weights and tokenizer are made on the spot.
"""

import contextlib
import http.client
import importlib.util
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import CodeGenConfig

START_S = 90.0
RETRY_S = 0.1
NUM_LOG_LINES = 20
NEEDED = ("accelerate", "fastapi", "openai", "tokenizers", "transformers", "uvicorn")
FORGOTTEN = re.compile(r"(HF|HUGGINGFACE|TRANSFORMERS)_.*|.*_PROXY", re.IGNORECASE)
LISTENING = re.compile(r"Uvicorn running on (http://127\.0\.0\.1:\d+)")
END_OF_TEXT = "<|endoftext|>"
SAMPLE = '''\
import torch
import torch.nn as nn
import torch.nn.functional as F


class Net(nn.Module):
    """Improve the above network by reducing the size drastically."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, kernel_size=3, padding=1)
        self.norm1 = nn.BatchNorm2d(16)
        self.dropout = nn.Dropout(0.25)
        self.fc1 = nn.Linear(1024, 10)

    def forward(self, x):
        x = F.relu(self.norm1(self.conv1(x)))
        x = F.max_pool2d(x, 2)
        x = x.view(x.size(0), -1)
        return self.fc1(self.dropout(x))
'''


def missing_parts() -> str:
    """Say which packages the server lacks, as a reason to skip; empty if none."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    return f"needs transformers[serving]; not installed: {', '.join(missing)}" if missing else ""


def make_model(folder: Path, *, context: int = 512, chat_template: str | None = None) -> None:
    """Write a random model that samples, the same each time, and the tokenizer for it.

    Args:
        folder: Made if needed; its last part is the model's name on the server.
        context: Tokens that prompt and completion may have together.
        chat_template: Jinja text; without one the chat route fails, as with the true CodeGen.
    """
    import torch
    from transformers import CodeGenForCausalLM, GenerationConfig

    vocabulary = make_tokenizer(folder, chat_template)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        model = CodeGenForCausalLM(tiny_config(vocabulary, context))
    # The server never turns sampling on: without this it ignores temperature, top_p and seed.
    model.generation_config = GenerationConfig(do_sample=True, eos_token_id=0, pad_token_id=0)
    model.save_pretrained(folder)


def tiny_config(vocabulary: int, context: int) -> "CodeGenConfig":
    """Describe a CodeGen of two layers; its four heads are the fewest it can have."""
    from transformers import CodeGenConfig

    return CodeGenConfig(
        vocab_size=vocabulary,
        n_positions=context,
        n_ctx=context,
        n_embd=64,
        n_layer=2,
        n_head=4,
        rotary_dim=8,
        bos_token_id=0,
        eos_token_id=0,
    )


def make_tokenizer(folder: Path, chat_template: str | None) -> int:
    """Train a byte-level BPE on the sample; return its size. Token 0 ends a text."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import PreTrainedTokenizerFast

    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator([SAMPLE], min_frequency=1, special_tokens=[END_OF_TEXT], show_progress=False)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=bpe._tokenizer,
        bos_token=END_OF_TEXT,
        eos_token=END_OF_TEXT,
        chat_template=chat_template,
    )
    tokenizer.save_pretrained(folder)
    return len(tokenizer)


@contextlib.contextmanager
def codegen_server(folder: Path, log: Path) -> Iterator[str]:
    """Serve the model of a folder on a free loopback port; its processes end with the block.

    Args:
        folder: What `make_model` wrote.
        log: Takes what the server prints.

    Yields:
        The base URL, without a slash at its end.

    Raises:
        RuntimeError: the server ended or was too slow; with the last lines of its log.
    """
    with tempfile.TemporaryDirectory() as home:
        process = start(folder, log, Path(home))
        try:
            yield wait_for_address(process, log)
        finally:
            kill_group(process)


def start(folder: Path, log: Path, home: Path) -> "subprocess.Popen[bytes]":
    """Start `transformers serve` as the leader of its own group."""
    # Port 0, and the address from the log: a port chosen here could be another's a moment later.
    script = Path(sys.executable).with_name("transformers")
    listen = ["--host", "127.0.0.1", "--port", "0", "--device", "cpu"]
    with log.open("wb") as output:
        return subprocess.Popen(
            [script, "serve", folder.name, *listen],
            cwd=folder.parent,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=clean_environment(home),
            start_new_session=True,
        )


def clean_environment(home: Path) -> dict[str, str]:
    """Keep proxies, caches and the network away from the server."""
    kept = {name: value for name, value in os.environ.items() if not FORGOTTEN.fullmatch(name)}
    return kept | {
        "DO_NOT_TRACK": "1",
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
    }


def wait_for_address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Poll log and health until the server answers, has ended, or the time is over."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the server ended with {process.returncode}; {last_lines(log)}")
        found = LISTENING.search(log.read_text(errors="replace"))
        if found and is_healthy(found[1]):
            return found[1]
        time.sleep(RETRY_S)
    raise RuntimeError(f"the server did not answer within {START_S} s; {last_lines(log)}")


def is_healthy(url: str) -> bool:
    """Ask once; http.client knows no proxies."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    with contextlib.closing(connection), contextlib.suppress(OSError):
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    return False


def last_lines(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-NUM_LOG_LINES:]
    return "\n".join(["last lines of its log follow", *lines])


def kill_group(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
