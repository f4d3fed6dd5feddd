"""`python -m t2a.cli` is `t2a`."""

from t2a.cli.main import main

main()
