"""A peer: concurrent.futures. 64-byte tasks by ProcessPoolExecutor.submit to
two forked workers, all submitted, then all collected, as its users do. Prints
tasks per second."""
import concurrent.futures
import multiprocessing
import sys
import time


def noop(data):
    return data


def run(executor, tasks):
    payload = bytes(64)
    began = time.perf_counter()
    futures = [executor.submit(noop, payload) for _ in range(tasks)]
    for future in futures:
        future.result()
    return tasks / (time.perf_counter() - began)


def main():
    tasks = int(sys.argv[1]) if len(sys.argv) > 1 else 15000
    fork = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=fork) as executor:
        run(executor, 200)  # until both are there and warm
        print("%.0f" % run(executor, tasks))


if __name__ == "__main__":
    main()
