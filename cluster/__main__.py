"""``python -m cluster`` is ``rtmp-cluster``."""

from cluster.cli import main

if __name__ == "__main__":
    main()
