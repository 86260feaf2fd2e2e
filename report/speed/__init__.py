"""How fast it is: the only part that measures time, so it does so side by side, in turns, and keeps all numbers.

`benchmark.bench` measures and writes the file that `measured` reads; `tables` shows it. Nothing is imported here: the
processes that are measured import `memory` and no more.
"""
