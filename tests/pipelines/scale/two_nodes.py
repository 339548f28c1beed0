"""A Ray cluster of two nodes on this machine's loopback address, run as a process of its own; ends with its input.

    python two_nodes.py FOLDER

Prints the address and the ids of the two raylets, the head's first, as one line of JSON.
"""

import json
import os
import sys
from pathlib import Path

os.environ |= {
    "RAY_TMPDIR": sys.argv[1],
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_AUTH_MODE": "disabled",
}

from ray.cluster_utils import Cluster

NODE = {
    "num_cpus": 1,
    "object_store_memory": 80 << 20,
    "include_dashboard": False,
    "temp_dir": sys.argv[1],
    "node_ip_address": "127.0.0.1",
}
# a node's death is noticed within two seconds
SETTINGS = {"enable_metrics_collection": False, "health_check_period_ms": 500, "health_check_failure_threshold": 4}


def _raylet(node):
    return node.all_processes["raylet"][0].process.pid


if __name__ == "__main__":
    Path(sys.argv[1], "ray").mkdir()  # Ray notes the address in it
    cluster = Cluster()
    try:
        nodes = [cluster.add_node(_system_config=SETTINGS, **NODE), cluster.add_node(**NODE)]
        sys.stdout.write(json.dumps({"address": cluster.address, "raylets": [_raylet(node) for node in nodes]}) + "\n")
        sys.stdout.flush()
        sys.stdin.read()
    finally:
        cluster.shutdown()
