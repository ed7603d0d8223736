"""Pictures are written for every archive, full, empty or large."""

from pathlib import Path

import numpy as np
import pytest

from llmatic_daemon.adapters.plots import search_plots

COURSE = search_plots.Course(objectives=[0.1, 0.4, 0.2], trainable=[True, False, True], window_size=2)
SCALE = search_plots.Scale(name="axis", ticks=((0.0, "low"), (1.0, "high")))


def archive_map(num_cells: int, objectives: dict[int, float]) -> search_plots.ArchiveMap:
    points = np.random.default_rng(1).random((num_cells, 2)).tolist()
    return search_plots.ArchiveMap(
        title="Archive", centroids=points, objectives=objectives, objective_name="accuracy", x=SCALE, y=SCALE
    )


def test_cells_of_a_map_fill_the_unit_square_without_overlap() -> None:
    points = np.random.default_rng(1).random((50, 2)).tolist()

    areas = [area(polygon) for polygon in search_plots._polygons(points)]

    assert sum(areas) == pytest.approx(1.0)


def area(polygon: np.ndarray) -> float:
    x, y = polygon[:, 0], polygon[:, 1]
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


@pytest.mark.parametrize(
    ("num_cells", "objectives"),
    [(20, {}), (20, {3: 0.5}), (20, dict.fromkeys(range(20), 0.5)), (20_001, {7: 0.1, 9: 0.9})],
)
def test_map_of_any_archive_is_drawn(tmp_path: Path, num_cells: int, objectives: dict[int, float]) -> None:
    files = search_plots.draw([archive_map(num_cells, objectives)], COURSE, tmp_path, ["png"])

    assert [file.name for file in files] == ["archives.png", "course.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


@pytest.mark.parametrize("points", [[], [(20, 0.1, -0.1, 0.3)], [(20, 0.0, 0.0, 0.0)] * 9])
def test_uplift_is_a_picture_of_its_own(tmp_path: Path, points: list[search_plots.Point]) -> None:
    bands = [search_plots.Band(title=title, points=points) for title in ("entered", "accuracy")]

    files = search_plots.draw([archive_map(20, {})], COURSE, tmp_path, ["png"], bands)

    assert [file.name for file in files] == ["archives.png", "course.png", "uplift.png"]


def test_last_window_counts_only_what_is_in_it() -> None:
    assert search_plots._window_shares(COURSE) == [0.5, 1.0]
