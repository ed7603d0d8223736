"""A data set: horizontal and vertical stripes."""

import numpy as np

from llmatic_daemon.worker.training.dataset_readers import Raw, Source
from llmatic_sample import note

note(__name__)


def read_stripes(source: Source) -> Raw:
    """Draw 240 images of stripes, 8 x 8, with noise."""
    rng = np.random.default_rng(source.seed)
    labels = np.arange(240) % 2
    across = np.tile(np.array([0.0, 255.0]), 4)[:, None] * np.ones(8)
    clean = np.where(labels[:, None, None] == 1, across, across.T)
    images = np.clip(clean + rng.normal(0, 40, clean.shape), 0, 255).astype(np.uint8)[..., None]
    return Raw(num_classes=2, images=images, labels=labels, test=None)
