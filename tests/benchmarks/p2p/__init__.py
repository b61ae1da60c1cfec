"""`make bench-p2p`: how long N nodes wait for an image, without peers, with them, and with lazy loading.

Every node is a network namespace with a link of limited rate (`tests/peers/namespaces.py`) and a real
Dragonfly client of its own. A row is one mode with one number of nodes, measured in a network of its own and
kept as a JSON file, so that a run can be cut into slices and go on later. `docs/p2p-performance.md` and its
drawing are written from those files.
"""
