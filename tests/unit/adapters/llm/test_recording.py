"""Recordings: what was answered is on file before it is used, and comes back as it was."""

import asyncio
import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from llmatic_daemon.adapters.llm.recording import Recorder, Replay, control_ratio_of
from llmatic_daemon.domain import Completion, Request, TooLong
from llmatic_daemon.domain.errors import ConfigurationError, UserError, WriterUnavailable
from llmatic_daemon.domain.ports import Writer
from tests.support.fakes import FakeWriter
from tests.support.llm import crossover, mutation

FULL = Completion(
    text="class Nét(nn.Module):\r\n\tpass\x00\ud800\n",
    writer="tgi",
    model="Salesforce/codegen-6B-mono",
    version="f" * 40,
    endpoint="big",
    finish_reason="length",
    num_prompt_tokens=500,
    num_tokens=350,
    duration_s=0.1 + 0.2,
    fallback=True,
)


class Fixed(Writer):
    def __init__(self, *answers: Completion | TooLong) -> None:
        self.answers = list(answers)

    async def complete(self, request: Request) -> Completion | TooLong:
        return self.answers.pop(0)


def recording(file: Path) -> tuple[list[Request], Path]:
    requests = [mutation(seed) for seed in range(3)]
    lines = [
        json.dumps(
            {"request": request.digest, "completion": {"text": f"answer {n}", "writer": "w", "model": "m"}}
        )
        for n, request in enumerate(requests)
    ]
    file.write_text("\n".join(lines) + "\n")
    return requests, file


async def replayed(file: Path, request: Request) -> Completion | TooLong:
    replay = Replay(file)
    try:
        return await replay.complete(request)
    finally:
        replay.close()


# --- round trip ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer", [FULL, TooLong(endpoint="big", num_tokens=9, max_tokens=5)], ids=["whole", "too long"]
)
async def test_answer_comes_back_as_it_was(tmp_path: Path, answer: Completion | TooLong):
    recorder = Recorder(Fixed(answer), tmp_path / "record.jsonl")
    assert await recorder.complete(mutation()) == answer
    recorder.close()

    assert await replayed(tmp_path / "record.jsonl", mutation()) == answer


async def test_request_asked_twice_is_answered_by_the_last_answer(tmp_path: Path):
    recorder = Recorder(FakeWriter(text="answer {}".format), tmp_path / "record.jsonl")
    for request in (mutation(1), mutation(2), mutation(1)):
        await recorder.complete(request)
    recorder.close()

    answer = await replayed(tmp_path / "record.jsonl", mutation(1))

    assert answer.text == "answer 3"


async def test_recording_goes_on_where_it_was(tmp_path: Path):
    for seed in (1, 2):
        recorder = Recorder(FakeWriter(text="answer {}".format), tmp_path / "record.jsonl")
        await recorder.complete(mutation(seed))
        recorder.close()

    answers = [await replayed(tmp_path / "record.jsonl", mutation(seed)) for seed in (1, 2)]

    assert len(answers) == 2


async def test_recording_says_which_share_of_the_jobs_is_not_in_it(tmp_path: Path):
    file = tmp_path / "record.jsonl"
    for ratio in (0.25, 0.5):  # the second one goes on with it
        recorder = Recorder(FakeWriter(), file, control_ratio=ratio)
        await recorder.complete(mutation())
        recorder.close()

    assert control_ratio_of(file) == 0.25
    assert (await replayed(file, mutation())).writer == "fake"
    whole, older = file.read_bytes(), tmp_path / "older.jsonl"
    older.write_bytes(whole.partition(b"\n")[2])
    assert control_ratio_of(older) == 0.0
    assert (await replayed(older, mutation())).writer == "fake"
    assert control_ratio_of(tmp_path / "nowhere.jsonl") == 0.0


async def test_fault_of_the_writer_is_not_recorded(tmp_path: Path):
    writer = FakeWriter()
    writer.faults._left = [WriterUnavailable("out")]
    recorder = Recorder(writer, tmp_path / "record.jsonl")

    with pytest.raises(WriterUnavailable):
        await recorder.complete(mutation())
    recorder.close()

    assert (tmp_path / "record.jsonl").read_bytes() == b""


async def test_answer_is_on_file_before_it_is_used(tmp_path: Path):
    recorder = Recorder(FakeWriter(), tmp_path / "record.jsonl")

    await recorder.complete(mutation())

    assert (tmp_path / "record.jsonl").read_bytes().endswith(b"}\n")
    recorder.close()


async def test_many_answers_at_once_never_mix(tmp_path: Path):
    recorder = Recorder(FakeWriter(text=lambda n: f"{n} " * 20_000), tmp_path / "new" / "record.jsonl")
    requests = [mutation(seed) for seed in range(40)]
    answers = await asyncio.gather(*(recorder.complete(request) for request in requests))
    recorder.close()

    replay = Replay(tmp_path / "new" / "record.jsonl")
    again = await asyncio.gather(*(replay.complete(request) for request in requests))
    replay.close()

    assert again == answers


async def test_cancelled_requests_leave_whole_lines(tmp_path: Path):
    recorder = Recorder(FakeWriter(text=lambda n: f"{n} " * 20_000), tmp_path / "record.jsonl")
    for seed in range(30):
        asking = asyncio.create_task(recorder.complete(mutation(seed)))
        for _ in range(seed % 5):
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    await recorder.complete(mutation(99))
    await asyncio.get_running_loop().shutdown_default_executor()
    recorder.close()

    for line in (tmp_path / "record.jsonl").read_bytes().splitlines():
        json.loads(line)


async def test_cancelled_replay_does_not_mix_up_the_others(tmp_path: Path):
    requests, file = recording(tmp_path / "record.jsonl")
    replay = Replay(file)

    for round_ in range(50):
        asking = asyncio.create_task(replay.complete(requests[round_ % 3]))
        await asyncio.sleep(0)
        asking.cancel()
        answer = await replay.complete(requests[(round_ + 1) % 3])
        assert answer.text == f"answer {(round_ + 1) % 3}"
    await asyncio.gather(asking, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_default_executor()
    replay.close()


# --- after a crash -------------------------------------------------------------------------------


async def test_half_last_line_is_left_out(tmp_path: Path):
    requests, file = recording(tmp_path / "record.jsonl")
    file.write_bytes(file.read_bytes()[:-20])

    assert (await replayed(file, requests[1])).text == "answer 1"
    with pytest.raises(UserError):
        await replayed(file, requests[2])


async def test_recorder_cuts_off_a_half_last_line(tmp_path: Path):
    """Else the next answer would run on from it, and spoil the whole recording."""
    requests, file = recording(tmp_path / "record.jsonl")
    file.write_bytes(file.read_bytes()[:-20])

    recorder = Recorder(FakeWriter(text="new {}".format), file)
    await recorder.complete(requests[2])
    recorder.close()

    texts = [(await replayed(file, request)).text for request in requests]
    assert texts == ["answer 0", "answer 1", "new 1"]


async def test_file_of_half_a_line_begins_anew(tmp_path: Path):
    file = tmp_path / "record.jsonl"
    file.write_bytes(b'{"request": "abc", "compl')

    recorder = Recorder(FakeWriter(), file)
    await recorder.complete(mutation())
    recorder.close()

    assert isinstance(await replayed(file, mutation()), Completion)


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"[]",
        b"5",
        b"{}",
        b'{"request": "a"}',
        b'{"request": 5, "completion": {"text": "", "writer": "w", "model": "m"}}',
        b'{"request": "a", "completion": {}}',
        b'{"request": "a", "completion": {"text": "", "writer": "w", "model": "m", "colour": 1}}',
        b'{"request": "a", "completion": 5}',
        b'{"request": "a", "too_long": {}, "completion": {}}',
        b"\xff\xfe",
    ],
)
def test_corrupt_line_is_named_by_its_number(tmp_path: Path, line: bytes):
    _, file = recording(tmp_path / "record.jsonl")
    file.write_bytes(file.read_bytes() + line + b"\n" + file.read_bytes())

    with pytest.raises(ConfigurationError, match="line 4: must be a recorded answer") as raised:
        Replay(file)

    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


# --- replay --------------------------------------------------------------------------------------


async def test_request_that_was_never_asked_is_the_users_error(tmp_path: Path):
    _, file = recording(tmp_path / "record.jsonl")

    with pytest.raises(UserError, match=r"holds no answer .* engine\.slots = 1") as raised:
        await replayed(file, mutation(77))

    assert str(file) in str(raised.value)


async def test_replay_tells_requests_apart(tmp_path: Path):
    requests, file = recording(tmp_path / "record.jsonl")

    for other in (mutation(0, temperature=0.6), crossover(0), replace(requests[0], seed=9)):
        with pytest.raises(UserError):
            await replayed(file, other)


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_replay_of_no_file_is_refused(tmp_path: Path, kind: str):
    file = tmp_path / "nowhere.jsonl" if kind == "missing" else tmp_path

    with pytest.raises(ConfigurationError, match=r"writer\.replay must name a recording") as raised:
        Replay(file)

    assert str(file) in str(raised.value)


# --- the file ------------------------------------------------------------------------------------


def test_recording_is_for_its_owner_only(tmp_path: Path):
    Recorder(FakeWriter(), tmp_path / "record.jsonl").close()

    assert stat.S_IMODE((tmp_path / "record.jsonl").stat().st_mode) == 0o600


@pytest.mark.parametrize("kind", ["folder", "below a file"])
def test_file_that_cannot_be_written_is_refused(tmp_path: Path, kind: str):
    (tmp_path / "file").write_text("")
    place = tmp_path if kind == "folder" else tmp_path / "file" / "record.jsonl"

    with pytest.raises(ConfigurationError, match=r"writer\.record must name a writable file") as raised:
        Recorder(FakeWriter(), place)

    assert str(place) in str(raised.value)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
async def test_full_disk_makes_the_writer_unavailable():
    recorder = Recorder(FakeWriter(), Path("/dev/full"))

    with pytest.raises(WriterUnavailable, match=r"No space left on device; make room"):
        await recorder.complete(mutation())
    recorder.close()


async def test_half_written_line_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A disk that gets full takes the first part of a line, and no error tells of it."""
    file = tmp_path / "record.jsonl"
    recorder = Recorder(FakeWriter(text="answer {}".format), file)
    await recorder.complete(mutation(1))
    whole = recorder._file

    class Short:
        def write(self, line: bytes) -> int:
            return whole.write(line[:10])

    recorder._file = Short()  # type: ignore[assignment]
    with pytest.raises(WriterUnavailable, match="No space left"):
        await recorder.complete(mutation(2))
    recorder._file = whole
    await recorder.complete(mutation(3))
    recorder.close()

    assert [(await replayed(file, mutation(seed))).text for seed in (1, 3)] == ["answer 1", "answer 3"]


def test_recorder_shows_the_writers_endpoints(tmp_path: Path):
    recorder = Recorder(FakeWriter(), tmp_path / "record.jsonl")

    assert recorder.endpoints() == ()
    recorder.close()
