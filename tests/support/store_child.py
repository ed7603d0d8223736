"""A process that works on a state folder and says what was acknowledged, until it is killed.

`python -m tests.support.store_child FOLDER NUMBER`: settles NUMBER jobs, with releases in between, and prints one
line for each acknowledged commit: the job's number and the placement's.
"""

import asyncio
import sys
from pathlib import Path

from llmatic_daemon.adapters.storage.sqlite_store import SQLiteStore
from tests.support.sample_placements import SampleSearch


async def work(folder: Path, number: int) -> None:
    print("starting", flush=True)
    store = await SQLiteStore.open(folder, checkpoint_every=3)
    search = SampleSearch(size=5_000)
    async for placement in store.log():
        search.settle(placement)
    print("ready", flush=True)
    for count in range(number):
        if count % 4 == 3:
            await store.release(await store.dispatch(0), charged=bool(count % 8 == 3))
        placement, artefacts = search.next(await store.dispatch(0))
        if await store.commit(placement, artefacts):
            print(placement.job.number, placement.number, flush=True)
            search.settle(placement)
    await store.close()


if __name__ == "__main__":
    asyncio.run(work(Path(sys.argv[1]), int(sys.argv[2])))
