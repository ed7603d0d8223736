"""What every writer promises: one suite, run over each of them and over the fake.

A module that runs it defines the fixture `writer`. A recording holds the answers to `REQUESTS`.
"""

import asyncio

import pytest

from llmatic_daemon.domain import Completion, EndpointState, Request, TooLong
from llmatic_daemon.domain.errors import WriterUnavailable
from llmatic_daemon.domain.ports import Writer
from tests.support.fakes import request_for
from tests.support.llm import CROSSOVER, MUTATION, turns

SOURCE = "from torch import nn\n\n\nclass Net(nn.Module):\n    pass\n"

#: Sources that an answer may have brought into the search.
ODD_SOURCES = {
    "empty": "",
    "unicode": SOURCE + "# größer \u4e2d\u6587 \U0001f600 e\u0301\u202e\n",
    "surrogate": SOURCE + "# \ud800\n",
    "nul": SOURCE + "# \x00\n",
    "control": SOURCE + "# \x07\x1b[31m\u2028\x85\r\n",
    "braces": SOURCE + "x = {source: {0}, '}': '{'}\n",
    "no code": "I am sorry, but I cannot do that.",
    "long": SOURCE + "# word\n" * 15_000,
    "long line": SOURCE + "x = '" + "y" * 100_000 + "'\n",
}
MUTATIONS = [request_for(MUTATION, SOURCE, seed=seed) for seed in range(24)]
CROSSED = request_for(CROSSOVER, SOURCE, SOURCE + "# 2\n", seed=1)
HOT = request_for(MUTATION, SOURCE, seed=1, temperature=1.0)
COLD = request_for(MUTATION, SOURCE, seed=1, temperature=0.01)
ODD = {name: request_for(MUTATION, source, seed=5) for name, source in ODD_SOURCES.items()}
REQUESTS: list[Request] = [*MUTATIONS, CROSSED, HOT, COLD, *ODD.values()]


class WriterContract:
    #: Whether the same request gets the same text.
    is_deterministic = True
    #: Whether it does while others are asked beside it.
    is_deterministic_at_once = True

    @pytest.mark.parametrize("request_", [MUTATIONS[0], CROSSED, HOT, COLD], ids=lambda r: r.digest[:4])
    async def test_answer_says_who_wrote_it_and_how_it_ended(self, writer: Writer, request_: Request):
        answer = await writer.complete(request_)

        assert isinstance(answer, Completion)
        assert answer.writer
        assert answer.model
        assert answer.finish_reason
        assert answer.duration_s >= 0
        assert answer.num_tokens >= 0
        assert answer.num_prompt_tokens >= 0
        assert not answer.fallback

    async def test_same_request_gets_the_same_text(self, writer: Writer):
        if not self.is_deterministic:
            pytest.skip("this writer does not promise it")

        first, other, again = [
            await writer.complete(request) for request in (MUTATIONS[0], MUTATIONS[1], MUTATIONS[0])
        ]

        assert isinstance(first, Completion)
        assert isinstance(again, Completion)
        assert isinstance(other, Completion)
        assert first.text == again.text

    async def test_many_requests_at_once_are_all_answered(self, writer: Writer):
        answers = await asyncio.gather(*map(writer.complete, MUTATIONS))

        assert len(answers) == len(MUTATIONS)
        assert all(isinstance(answer, Completion) for answer in answers)

    async def test_answers_at_once_are_not_mixed_up(self, writer: Writer):
        if not (self.is_deterministic and self.is_deterministic_at_once):
            pytest.skip("this writer does not promise it")
        alone = [await writer.complete(request) for request in MUTATIONS[:6]]

        together = await asyncio.gather(*map(writer.complete, MUTATIONS[:6]))

        assert [_text(answer) for answer in together] == [_text(answer) for answer in alone]

    async def test_cancelled_requests_leave_it_usable(self, writer: Writer):
        for pause in (*range(8), 20, 50):
            asking = [asyncio.create_task(writer.complete(request)) for request in MUTATIONS[:4]]
            await turns(pause)
            for task in asking[:3]:
                task.cancel()
            results = await asyncio.gather(*asking, return_exceptions=True)

            assert isinstance(results[3], Completion)
            assert all(isinstance(r, Completion | asyncio.CancelledError) for r in results)
        answers = await asyncio.gather(*map(writer.complete, MUTATIONS))

        assert all(isinstance(answer, Completion) for answer in answers)

    @pytest.mark.parametrize("name", ODD)
    async def test_odd_source_is_answered_or_refused_in_our_words(self, writer: Writer, name: str):
        (answer,) = await asyncio.gather(writer.complete(ODD[name]), return_exceptions=True)

        assert isinstance(answer, Completion | TooLong | WriterUnavailable)

    async def test_odd_sources_leave_it_usable(self, writer: Writer):
        await asyncio.gather(*map(writer.complete, ODD.values()), return_exceptions=True)

        assert isinstance(await writer.complete(MUTATIONS[0]), Completion)

    async def test_endpoints_are_shown_before_and_after(self, writer: Writer):
        before = writer.endpoints()
        await writer.complete(MUTATIONS[0])
        after = writer.endpoints()

        for states in (before, after):
            assert isinstance(states, tuple)
            assert all(isinstance(state, EndpointState) for state in states)
        assert [state.name for state in before] == [state.name for state in after]
        assert all(state.num_in_flight == 0 and not state.is_open for state in after)


def _text(answer: Completion | TooLong) -> str:
    assert isinstance(answer, Completion)
    return answer.text
