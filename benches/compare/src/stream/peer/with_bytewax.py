# The tumbling windows by bytewax: FILE of JSON lines, OUT for the answer, and how many threads.
import json
import resource
import sys
import time
from datetime import datetime, timedelta, timezone

import bytewax.operators as op
import bytewax.operators.windowing as win
from bytewax.connectors.files import FileSource
from bytewax.dataflow import Dataflow
from bytewax.operators.windowing import EventClock, TumblingWindower
from bytewax.testing import TestingSink, cluster_main

lines, out, threads = sys.argv[1:4]
EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
SIZE = timedelta(seconds=10)


def add(group, reading):
    total, least, most, count = group
    temp = reading["temp"]
    return (total + temp, min(least, temp), max(most, temp), count + 1)


def merge(a, b):
    return (a[0] + b[0], min(a[1], b[1]), max(a[2], b[2]), a[3] + b[3])


flow = Dataflow("windows")
readings = op.map("parse", op.input("read", flow, FileSource(lines)), json.loads)
warm = op.filter("warm", readings, lambda reading: reading["temp"] > 20)
clock = EventClock(
    lambda reading: EPOCH + timedelta(milliseconds=reading["ts"]),
    wait_for_system_duration=timedelta(seconds=1),
)
keyed = op.key_on("key", warm, lambda reading: reading["device"])
windows = win.fold_window(
    "fold",
    keyed,
    clock,
    TumblingWindower(length=SIZE, align_to=EPOCH),
    lambda: (0.0, float("inf"), float("-inf"), 0),
    add,
    merge,
)
answer = []
op.output("out", windows.down, TestingSink(answer))
began = time.perf_counter()
cpu = time.process_time()
cluster_main(flow, [], 0, worker_count_per_proc=int(threads))
print("seconds", time.perf_counter() - began)
print("cpu", time.process_time() - cpu)
print("peak_kib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
with open(out, "w") as file:
    for device, (window, (total, least, most, count)) in answer:
        file.write(f"{window * 10000},{device},{total / count},{least},{most},{count}\n")
