"""Durable jobs: what runs, in which state it is, and what is left of it after a crash.

The rest of the application sees `jobs.model` only: values, and the two protocols `Jobs` (ask for jobs, look
at them) and `Run` (what a running workflow may ask for). DBOS Transact implements them in `jobs.dbos_client`
and `jobs.dbos_worker`; nothing outside this package imports it, so another engine could take its place.
"""
