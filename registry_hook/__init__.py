"""The application: webhook, jobs, pipeline, registry client, gateway, settings, wiring and command line."""
