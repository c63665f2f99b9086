"""Drain3 (Python) over the lines on standard input: prints the CPU seconds of each pass and the number of clusters.

Usage: drain3_peer.py PASSES [drain3.ini]. The first pass is cold. Snapshots are off, and so is masking without a drain3.ini.
"""

import sys
import time

from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig

passes = int(sys.argv[1])
lines = [line.rstrip("\n") for line in sys.stdin]
config = TemplateMinerConfig()
if len(sys.argv) > 2:
    config.load(sys.argv[2])
config.profiling_enabled = False
miner = TemplateMiner(config=config)
for _ in range(passes):
    start = time.thread_time()
    for line in lines:
        miner.add_log_message(line)
    print(time.thread_time() - start)
print(len(miner.drain.clusters))
