"""rtmp-cluster: an RTMP server that uses every core and any number of hosts as one system."""

__version__ = "0.1.0"
