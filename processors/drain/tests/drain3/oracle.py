"""What Drain3 makes of the lines on standard input, each a JSON string.

Usage: oracle.py [drain3.ini]. Prints one JSON document: `clusters` holds the number of the cluster of each line, `templates` those of the
live clusters with their sizes at the end, `matches` for each line the cluster that `match` then finds, once per strategy.
"""

import json
import sys

from drain3 import TemplateMiner
from drain3.template_miner_config import TemplateMinerConfig

config = TemplateMinerConfig()
if len(sys.argv) > 1:
    config.load(sys.argv[1])
config.profiling_enabled = False
miner = TemplateMiner(config=config)
lines = [json.loads(line) for line in sys.stdin]
clusters = [miner.add_log_message(line)["cluster_id"] for line in lines]
templates = sorted([c.cluster_id, c.get_template(), c.size] for c in miner.drain.clusters)


def match(line, strategy):
    cluster = miner.match(line, strategy)
    return cluster.cluster_id if cluster else 0


# The wide searches look at every cluster: a part of the lines is enough.
matches = {
    "never": [match(line, "never") for line in lines],
    "fallback": [match(line, "fallback") for line in lines[:5000]],
    "always": [match(line, "always") for line in lines[:5000]],
}
json.dump({"clusters": clusters, "templates": templates, "matches": matches}, sys.stdout)
