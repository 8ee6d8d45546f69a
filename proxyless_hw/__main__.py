"""``python -m proxyless_hw``."""

from proxyless_hw.cli import main

if __name__ == "__main__":
    main()
