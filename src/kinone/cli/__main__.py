"""`python -m kinone.cli`, where the script `kinone` is not on the path."""

from kinone.cli import main

main()
