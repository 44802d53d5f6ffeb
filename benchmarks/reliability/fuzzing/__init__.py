"""A fuzzer over every reader and every file format the suite opens.

Run as `python -m benchmarks.reliability.fuzz`. A target names what is opened, a case is what lies
on the disk (a file or a whole folder), a mutation makes one case of another, and the worker runs
cases in a process of its own and judges what comes of them. Everything follows from the seed.
"""
