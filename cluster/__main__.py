"""``python -m cluster`` is ``rtmp-cluster``."""

from cluster.commands.main import main

if __name__ == "__main__":
    main()
