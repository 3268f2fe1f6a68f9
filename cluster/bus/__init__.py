"""ZeroMQ for workers and routers alike: bounded sockets, the cluster's key, routers by host name."""
