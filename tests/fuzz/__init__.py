"""Fuzzing: spoilt inputs give our errors or correct results, in bounded time and memory, and nothing else.

`corpus/` has sound layers, bootstraps, blobs and documents, and `found/` inputs that once went wrong; `cases`
spoils them by number, `targets` says what is done with the result, `worker` does it under limits, and
`campaign` watches. CONTRIBUTING.md has the commands.
"""
