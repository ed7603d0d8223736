"""The check of kernels through true children, with planted faults and with the one that is known."""

import asyncio

import pytest

from llmatic_daemon.adapters.processes import instruction_sets, kernel_check
from llmatic_daemon.adapters.processes.child import Child
from llmatic_daemon.adapters.processes.instruction_sets import InstructionSet, available, named
from llmatic_daemon.adapters.processes.kernel_check import KernelCheck
from llmatic_daemon.domain.errors import ConfigurationError, KernelCheckUnavailable
from llmatic_daemon.domain.kernels import KernelFault, KernelFinding
from tests.support import planted_kernels
from tests.support.trainer import is_alive

OWN = InstructionSet(name="DEFAULT")
NEEDS_AVX2 = pytest.mark.skipif(
    "avx2" not in instruction_sets.processor_flags(), reason="the processor has no AVX2"
)


def planted(name: str) -> str:
    return f"{planted_kernels.__name__}:{name}"


def check_of(name: str, num_cells: int, level: InstructionSet = OWN, **more: float) -> KernelCheck:
    return KernelCheck([level], range(num_cells), grid=planted(name), num_processes=1, **more)  # type: ignore[arg-type]


async def found(name: str, num_cells: int, level: InstructionSet = OWN, **more: float) -> list[KernelFinding]:
    return await check_of(name, num_cells, level, **more).run()


@pytest.fixture
def without_remedies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look up no remedy: it starts a child for each."""
    monkeypatch.setattr(kernel_check, "alternatives", lambda level: ())


async def test_planted_faults_are_found_at_their_cells(without_remedies: None):
    order = planted_kernels.FAULTS.order

    findings = await found("FAULTS", 2 * len(order))  # in even cells arguments end at a page that faults

    assert {finding.operation for finding in findings} == set(order) - {"right"}
    assert all(order[finding.number % len(order)] == finding.operation for finding in findings)
    assert all("not alone" not in finding.detail for finding in findings)
    each = {finding.operation: finding for finding in reversed(findings)}
    assert each["wrong_channel"].fault is each["not_a_number"].fault is KernelFault.DIFFERS
    assert "result 0 differs by" in each["wrong_channel"].detail
    assert each["raises"].fault is KernelFault.RAISED
    assert each["raises"].detail == "could not create a primitive"
    assert each["dies"].fault is KernelFault.DIED
    assert each["dies"].detail == "signal 6 (SIGABRT): free(): planted pointer"
    assert each["dies"].cell.startswith("dies([3x5]) ")


async def test_write_behind_a_result_is_found_without_the_checking_malloc(
    without_remedies: None, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(kernel_check, "_CHECKS", {"MALLOC_PERTURB_": "165"})
    check = check_of("FAULTS", 9)

    findings = {finding.operation: finding for finding in await check.run()}

    assert not check.checks_malloc
    assert findings["behind_result"].detail == "wrote behind a result"
    assert "right" not in findings


async def test_cell_that_hangs_is_ended_and_the_next_are_tried(without_remedies: None):
    check = check_of("HANGS", 4, timeout_s=1.0)

    findings = await check.run()

    assert [(each.number, each.fault) for each in findings] == [(1, KernelFault.HUNG), (3, KernelFault.HUNG)]
    assert check.num_tried == 4


async def test_death_that_another_cell_causes_names_both(without_remedies: None):
    (finding,) = await found("LATE", 3)

    assert (finding.number, finding.fault) == (2, KernelFault.DIED)
    assert finding.detail.endswith("not alone, but in cells 0 to 2 one after another")


async def test_damage_of_a_known_fault_is_not_blamed_on_the_cells_behind_it():
    assert await found("KNOWN", 6) == []


@NEEDS_AVX2
async def test_remedy_is_the_environment_under_which_the_cell_is_right():
    (finding,) = await found("WRONG_ABOVE_SSE41", 2, named("AVX2", instruction_sets.processor_flags()))

    assert finding.operation == "wrong_above_sse41"
    assert finding.remedy == "ONEDNN_MAX_CPU_ISA=SSE41"
    assert not finding.is_explained


async def test_fault_that_the_trainer_avoids_is_explained():
    (finding,) = await found("AVOIDED", 2)

    assert finding.avoided_by == "a planted entry"
    assert finding.is_explained


#: Of true kernels: torch may have repaired it, and damaged memory does not always show.
NOT_SHOWN = "this processor or version of torch does not show the fault"


@pytest.mark.exhaustive
@NEEDS_AVX2
async def test_known_fault_of_strided_1x1_convolutions_is_found_at_avx2():
    level = named("AVX2", instruction_sets.processor_flags())

    findings = await found("SHORTCUT", 6, level, timeout_s=2.0)

    if not findings:
        pytest.skip(NOT_SHOWN)
    symptoms = {KernelFault.DIED, KernelFault.DIFFERS, KernelFault.HUNG}
    assert {finding.fault for finding in findings} <= symptoms
    assert findings[0].operation == "conv2d.default"
    assert findings[0].remedy.startswith("ONEDNN_MAX_CPU_ISA=")


@pytest.mark.exhaustive
@pytest.mark.skipif(
    "avx512bw" not in instruction_sets.processor_flags(), reason="the processor has no AVX-512"
)
async def test_known_fault_of_gradients_of_padding_is_found_in_bfloat16(without_remedies: None):
    """oneDNN 3.12 leaves the gradient of weights that read padding alone as its memory was."""
    level = named("AVX512_CORE", instruction_sets.processor_flags())

    findings = await found("PADDING", 12, level)

    if not findings:
        pytest.skip(NOT_SHOWN)
    assert all(finding.cell.endswith("bfloat16") or "bfloat16," in finding.cell for finding in findings)
    assert all(finding.detail.startswith("gradient 1 differs by") for finding in findings)


async def test_cancelled_check_leaves_no_process_and_knows_where_it_was(monkeypatch: pytest.MonkeyPatch):
    children: list[Child] = []
    start = Child.start.__func__  # type: ignore[attr-defined]

    async def watched(cls: type[Child], *args: str, **options: object) -> Child:
        children.append(await start(cls, *args, **options))
        return children[-1]

    monkeypatch.setattr(Child, "start", classmethod(watched))
    begun = asyncio.Event()
    check = KernelCheck([OWN], range(1000), grid=planted("HANGS"), num_processes=2, watch=lambda: begun.set())
    running = asyncio.create_task(check.run())

    await begun.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running

    assert len(children) == 2
    assert not any(is_alive(child.pid) for child in children)
    assert (check.is_done, check.first_open) == (False, 0)


async def test_child_that_does_not_start_is_one_line():
    check = KernelCheck([OWN], range(2), grid="tests.support.planted_kernels:MISSING", num_processes=1)

    with pytest.RaisesGroup(KernelCheckUnavailable) as raised:
        await check.run()

    line = str(raised.value.exceptions[0])
    assert line.endswith("has no attribute 'MISSING'; try again")
    assert "\n" not in line


# --- levels --------------------------------------------------------------------------------------

_AVX2 = frozenset({"sse4_1", "avx", "avx2", "fma"})
_AVX512 = _AVX2 | {"avx512f", "avx512bw", "avx512vl", "avx512dq"}


@pytest.mark.parametrize(
    ("flags", "names"),
    [
        (frozenset[str](), ["DEFAULT"]),
        (frozenset({"sse4_1"}), ["DEFAULT"]),
        (_AVX2, ["SSE41", "DEFAULT"]),
        (_AVX512, ["SSE41", "AVX2", "DEFAULT"]),
        (_AVX512 | {"avx512_bf16"}, ["SSE41", "AVX2", "AVX512_CORE", "DEFAULT"]),
    ],
)
def test_levels_are_those_of_the_processor(flags: frozenset[str], names: list[str]):
    assert [level.name for level in available(flags)] == names


def test_level_that_the_processor_lacks_is_one_line_with_the_way_out():
    with pytest.raises(ConfigurationError) as raised:
        named("avx512_core", _AVX2)

    assert str(raised.value) == (
        "--isa: expected a level that this processor has (SSE41, AVX2, DEFAULT), got AVX512_CORE, which needs "
        "avx512bw, avx512dq, avx512f, avx512vl; choose another, or leave --isa out to try all it has"
    )


def test_unknown_level_names_the_nearest():
    with pytest.raises(ConfigurationError, match=r"got 'AVX-2'; did you mean AVX2\?"):
        named("AVX-2", _AVX2)


def test_own_level_is_what_the_environment_asks_of_a_trainer(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "SSE41")

    assert available(_AVX2)[-1].environment == {"ONEDNN_MAX_CPU_ISA": "SSE41"}


def test_processor_has_a_name():
    assert instruction_sets.processor()
