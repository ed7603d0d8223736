"""What the fake text-generation-inference answers: a text, cut into tokens, as a model would."""

import asyncio
import contextlib
import functools
import random
import re
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.support.fake_tgi_rules import EOS, GenerateRequest, Limits, Refused, check, token_id, tokenize

_CHANNELS = re.compile(r"Conv2d\(\s*(?:in_channels\s*=\s*)?(\d+)")
_CLASSES = re.compile(r"Linear\([^,()]*,\s*(?:out_features\s*=\s*)?(\d+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Written:
    """One answer."""

    text: str
    #: The stop text at its end, "" without.
    stop: str
    finish_reason: str
    tokens: list[str]
    prompt_tokens: int
    seed: int | None

    def details(self) -> dict[str, Any]:
        told = {"finish_reason": self.finish_reason, "generated_tokens": len(self.tokens)}
        tokens = [_token(token) for token in self.tokens]
        return told | {"seed": self.seed, "prefill": [], "tokens": tokens}


def write(text: str, request: GenerateRequest, num_prompt: int, most: int) -> Written:
    """Write until the stop text, the end or the last of `most` tokens, whichever comes first."""
    ends = [(text.find(stop) + len(stop), stop) for stop in request.stop if stop and stop in text]
    end, stop = min(ends, default=(len(text), ""))
    tokens = tokenize(text[:end]) + ([] if stop else [EOS])
    cut = len(tokens) >= most
    reason = "length" if cut else "stop_sequence" if stop else "eos_token"
    return Written(
        text="".join(token for token in tokens[:most] if token != EOS),
        stop="" if cut else stop,
        finish_reason=reason,
        tokens=tokens[:most],
        prompt_tokens=num_prompt,
        seed=request.seed,
    )


@functools.lru_cache(maxsize=4096)
def _token(token: str) -> dict[str, Any]:
    return {"id": token_id(token), "text": token, "logprob": -0.5, "special": token == EOS}


def continuation(request: GenerateRequest) -> str:
    """Continue a file as CodeGen does: the next class, now and then more; fixed by inputs and seed."""
    chance = random.Random(zlib.crc32(f"{request.seed} {request.inputs}".encode(errors="replace")))
    shape = _shape(request.inputs)
    text = _network("Net", *shape, chance)
    if request.inputs.rstrip().endswith("(nn.Module):"):
        text = text.partition("\n")[2]
    more = chance.random()
    if more < 0.15:
        text += "\n\n" + _network("Net2", *shape, chance)
    elif more < 0.3:
        text += '\n\nif __name__ == "__main__":\n    net = Net()\n    print(net)\n'
    return text if request.inputs.endswith("\n") else f"\n\n\n{text}"


def chatter(request: GenerateRequest) -> str:
    """Answer as a chat model does: prose, and a whole file in a fence."""
    code = continuation(request.model_copy(update={"inputs": request.inputs + "\n"}))
    return f"Here is a better network.\n\n```python\nfrom torch import nn\n\n\n{code}```\nIt is wider.\n"


def _shape(text: str) -> tuple[int, int]:
    """Find the channels of the images and the number of classes in a parent's source."""
    channels, classes = _CHANNELS.search(text), _CLASSES.findall(text)
    return int(channels[1]) if channels else 3, int(classes[-1]) if classes else 10


def _network(name: str, channels: int, classes: int, chance: random.Random) -> str:
    """Write a network of some convolutions and two dense layers, for images of any size."""
    widths = [channels] + [chance.choice((4, 8, 12, 16, 24)) for _ in range(chance.randint(1, 3))]
    side, hidden = chance.randint(1, 4), chance.choice((16, 32, 48, 64))
    activation = "nn.functional." + chance.choice(("relu", "gelu", "silu", "leaky_relu"))
    lines = [f"class {name}(nn.Module):", "    def __init__(self):", "        super().__init__()"]
    body = ["", "    def forward(self, x):"]
    for layer in range(1, len(widths)):
        kernel, sizes = chance.choice((1, 3, 5)), f"{widths[layer - 1]}, {widths[layer]}"
        lines.append(f"        self.conv{layer} = nn.Conv2d({sizes}, {kernel}, padding={kernel // 2})")
        body.append(f"        x = {activation}(self.conv{layer}(x))")
    lines.append(f"        self.pool = nn.AdaptiveAvgPool2d({side})")
    lines.append(f"        self.fc1 = nn.Linear({widths[-1] * side * side}, {hidden})")
    lines.append(f"        self.fc2 = nn.Linear({hidden}, {classes})")
    body.append(f"        x = {activation}(self.fc1(self.pool(x).flatten(1)))")
    return "\n".join([*lines, *body, "        return self.fc2(x)", ""])


Answer = Callable[[GenerateRequest], str]
Latency = Callable[[GenerateRequest], float]


class Model:
    """Stands for the shard: at most so many requests at a time, each checked, then written."""

    def __init__(self, limits: Limits, answer: Answer, latency_s: Latency) -> None:
        self.limits = limits
        self.answer = answer
        self.latency_s = latency_s
        self.num_writing = 0
        self._chance = random.Random(0)

    async def generate(self, request: GenerateRequest) -> Written:
        """Write an answer.

        Raises:
            Refused: too many at a time, or a broken rule.
        """
        with self._permit():
            prompt = check(request, self.limits)
            await asyncio.sleep(self.latency_s(request))
            return self._write(request, prompt)

    @contextlib.contextmanager
    def _permit(self) -> Iterator[None]:
        if self.num_writing >= self.limits.max_concurrent_requests:
            raise Refused(429, "overloaded", "Model is overloaded")
        self.num_writing += 1
        try:
            yield
        finally:
            self.num_writing -= 1

    def _write(self, request: GenerateRequest, prompt: list[str]) -> Written:
        """Answer what is left after truncation; without sampling the seed has no effect."""
        seed = self._chance.getrandbits(64) if request.seed is None else request.seed
        inputs = request.inputs if request.truncate is None else "".join(prompt)
        seen = {"inputs": inputs, "seed": seed if request.sampled else None}
        most = request.max_new_tokens or self.limits.max_total_tokens - len(prompt)
        request = request.model_copy(update=seen)
        return write(self.answer(request), request, len(prompt), most)
