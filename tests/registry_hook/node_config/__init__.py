"""What `dragonhook config` prints, given to the programs that it is for."""
