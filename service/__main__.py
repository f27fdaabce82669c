"""`python -m service`: the command `asset-sync`."""

from service.cli import main

if __name__ == "__main__":
    main()
