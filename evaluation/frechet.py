"""Frechet distance between two sets of features: FID on pictures, FVD on clips.

d^2 = |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)) of the Gaussians with the sets' means m and covariances S (Heusel et
al. 2017; Unterthiner et al. 2018). The value depends on the network and on the number of samples: compare only what
was measured alike. Few samples make it large; below some hundred clips it can only rank.
"""

import numpy as np

from .metrics import NotMeasured

FEWEST = 2  # samples that have a covariance


def gaussian_distance(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
    """Return the squared Frechet distance of two Gaussians: means [D], covariances [D, D].

    tr (S1 S2)^(1/2) is that of the symmetric (R S2 R)^(1/2) with R = S1^(1/2), which covariances of any rank have.
    """
    from scipy.linalg import eigh, eigvalsh

    values, vectors = eigh((cov_a + cov_a.T) / 2)
    root = (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T
    inner = root @ cov_b @ root
    shared = np.sqrt(np.clip(eigvalsh((inner + inner.T) / 2), 0, None)).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * shared
    return float(max(distance, 0.0))


def frechet_distance(features_a: np.ndarray, features_b: np.ndarray) -> float:
    """Return the distance of two sets of features [N, D] and [M, D]; NotMeasured for fewer than two rows in either."""
    for features in (features_a, features_b):
        if len(features) < FEWEST:
            raise NotMeasured(f"{len(features)} samples have no covariance; at least {FEWEST} are needed")
    means = features_a.mean(axis=0), features_b.mean(axis=0)
    covs = [np.atleast_2d(np.cov(features, rowvar=False)) for features in (features_a, features_b)]
    return gaussian_distance(means[0], covs[0], means[1], covs[1])
