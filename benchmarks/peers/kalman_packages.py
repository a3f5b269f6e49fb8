"""simdkalman and filterpy on the task of bench_kalman.py: one figure a line of input.

    kalman_packages.py simdkalman|filterpy FOLDER STEPS

FOLDER holds z.npy, (steps, n) measurements; STEPS of them are taken. figure: million measurements
per CPU second of the measuring thread. prices: what the first filters come to, to compare.
"""

import json
import os
import sys
import time

os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np

F, H = np.array([[1.0, 1.0], [0.0, 1.0]]), np.array([[1.0, 0.0]])
Q, R = 1e-4, 1e-2


def simdkalman_vectors(z):
    """The package's own vectorised loop over all filters at once."""
    import simdkalman

    kalman = simdkalman.KalmanFilter(
        state_transition=F, process_noise=Q * np.eye(2), observation_model=H, observation_noise=R
    )
    data = np.ascontiguousarray(z.T)
    began = time.thread_time()
    found = kalman.compute(
        data, 0, initial_value=F @ [0, 0], initial_covariance=F @ F.T + Q * np.eye(2),
        smoothed=False, filtered=True, covariances=False, observations=False,
    )  # fmt: skip
    return time.thread_time() - began, found.filtered.states.mean[:8, -1, 0]


def filterpy_objects(z):
    """One KalmanFilter object for each instrument."""
    from filterpy.kalman import KalmanFilter

    filters = []
    for _ in range(z.shape[1]):
        made = KalmanFilter(dim_x=2, dim_z=1)
        made.F, made.H, made.Q, made.R, made.P = F, H, Q * np.eye(2), np.array([[R]]), np.eye(2)
        filters.append(made)
    began = time.thread_time()
    for step in z:
        for one, value in zip(filters, step.tolist(), strict=True):
            one.predict()
            one.update(value)
    return time.thread_time() - began, [one.x.ravel()[0] for one in filters[:8]]


def main() -> None:
    name, folder, steps = sys.argv[1], sys.argv[2], int(sys.argv[3])
    z = np.load(os.path.join(folder, "z.npy"))[:steps]
    task = {"simdkalman": simdkalman_vectors, "filterpy": filterpy_objects}[name]
    import importlib.metadata

    for _ in sys.stdin:
        seconds, prices = task(z)
        answer = {
            "figure": z.size / seconds / 1e6,
            "prices": [float(price) for price in prices],
            "version": f"{name} {importlib.metadata.version(name)}, numpy {np.__version__}",
        }
        print(json.dumps(answer), flush=True)


main()
