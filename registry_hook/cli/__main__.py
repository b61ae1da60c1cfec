"""`python -m registry_hook.cli`, which is how the supervisor starts its children."""

from registry_hook.cli.main import main

main()
