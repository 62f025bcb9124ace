# The tumbling windows by DuckDB: FILE of JSON lines, OUT for the answer, and how many threads.
import resource
import sys
import time

import duckdb

lines, out, threads = sys.argv[1:4]
db = duckdb.connect()
db.execute(f"SET threads = {threads}")
began = time.perf_counter()
cpu = time.process_time()
rows = db.execute(
    """
    SELECT ts - ts % 10000 AS w, device, avg(temp), min(temp), max(temp), count(*)
    FROM read_json(?, format = 'newline_delimited',
      columns = {device: 'VARCHAR', ts: 'BIGINT', temp: 'DOUBLE', hum: 'DOUBLE'})
    WHERE temp > 20 GROUP BY ALL
    """,
    [lines],
).fetchall()
print("seconds", time.perf_counter() - began)
print("cpu", time.process_time() - cpu)
print("peak_kib", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
with open(out, "w") as file:
    for row in rows:
        file.write(",".join(str(cell) for cell in row) + "\n")
