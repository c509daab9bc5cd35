"""``python -m spaceswarm_proxy.commands``: the same as ``spaceswarm``."""

from spaceswarm_proxy.commands import main

if __name__ == "__main__":
    main()
