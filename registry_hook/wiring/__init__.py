"""The composition root: builds the parts of each process from the settings. Nothing else knows them all.

One module for each process, since a process should not have to load the libraries of another.
"""
