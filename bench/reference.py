#!/usr/bin/env python3
"""What bench/manager.c is measured against: the parallel manager of
parameter sweeps as it is written in Python, on ProcessPoolExecutor and numpy.

A scatter deals the rows with numpy's array_split, makes a new executor with
a worker for each part and submits one call a part, which builds the model and
runs the rows. A gather waits, collects in rank order and shuts the executor
down. Rows, models and sums are numpy's: no loop over rows in Python.

reference.py NAME: seconds of one run; "check": can it run at all.
"""
import sys
import time
from concurrent import futures

import numpy

WORKERS = 2


def build(base):
    return base


def execute(rows, base):
    return rows.sum(axis=1) + base


def build_and_execute(rows, base):
    return execute(rows, build(base))


class Manager:
    """Its constructor takes the most workers, as the reference's does."""

    def __init__(self, workers):
        self.workers = workers

    def scatter(self, rows):
        ranks = min(self.workers, len(rows))
        self.executor = futures.ProcessPoolExecutor(max_workers=ranks)
        self.running = {}
        for rank, part in enumerate(numpy.array_split(rows, ranks)):
            future = self.executor.submit(build_and_execute, part, 0.5)
            self.running[future] = (rank, part)

    def gather(self):
        done = futures.wait(self.running).done
        results = [(*self.running[f], f.result()) for f in done]
        self.executor.shutdown()
        return sorted(results, key=lambda result: result[0])


def matrix(count, columns):
    return numpy.arange(count * columns, dtype=float).reshape(count, columns)


def scatter_and_gather(rows, times):
    samples = []
    for _ in range(times):
        began = time.perf_counter()
        manager = Manager(WORKERS)
        manager.scatter(rows)
        sums = numpy.concatenate([r[2] for r in manager.gather()])
        samples.append(time.perf_counter() - began)
        assert sums[-1] == rows[-1].sum() + 0.5
    return sorted(samples)[times // 2]


def one_row(row):
    return row.sum() + 0.5


def dynamic(rows):
    """One submit a row on an executor that is warm: the reference has no
    dynamic schedule, and this is how one is made with what it stands on."""
    with futures.ProcessPoolExecutor(max_workers=WORKERS) as executor:
        futures.wait([executor.submit(one_row, rows[0]) for _ in range(20)])
        began = time.perf_counter()
        running = [executor.submit(one_row, row) for row in rows]
        sums = numpy.array([future.result() for future in running])
        seconds = time.perf_counter() - began
    assert sums[-1] == rows[-1].sum() + 0.5
    return seconds


def main(name):
    if name == "large":
        return scatter_and_gather(matrix(1000000, 8), 3)
    if name == "tiny":
        return scatter_and_gather(matrix(10, 3), 11)
    if name == "dynamic":
        return dynamic(matrix(5000, 3))
    return 0.0


if __name__ == "__main__":
    print(main(sys.argv[1]))
