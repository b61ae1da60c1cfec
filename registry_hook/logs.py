"""Structured logs: readable lines at a terminal, JSON everywhere else."""

from __future__ import annotations

import logging
import sys
from typing import Final, TextIO

import structlog

# DBOS logs each failed workflow with its whole traceback; the job keeps the reason, and we log one line.
_FAILED_WORKFLOW: Final = "Exception encountered in background workflow"


def configure(level: str, process: str, stream: TextIO = sys.stderr) -> None:
    """Sets up logging for this process.

    Args:
        level: the lowest level that is shown: debug, info, warning or error.
        process: `web`, `worker`, `gateway` or `serve`; part of every entry.
        stream: where to write.
    """
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        _naming(process),
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    renderer: list[structlog.typing.Processor]
    if stream.isatty():
        renderer = [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
    else:
        renderer = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    structlog.configure(
        processors=[*shared, *renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=structlog.WriteLoggerFactory(stream),
        cache_logger_on_first_use=True,
    )
    _route_libraries(shared, renderer, max(number, logging.WARNING), stream)


def _naming(process: str) -> structlog.typing.Processor:
    # Not a context variable: threads start without those of the thread that started them.
    def name(
        _logger: structlog.typing.WrappedLogger, _method: str, entry: structlog.typing.EventDict
    ) -> structlog.typing.EventDict:
        entry["process"] = process
        return entry

    return name


def _route_libraries(
    shared: list[structlog.typing.Processor],
    renderer: list[structlog.typing.Processor],
    level: int,
    stream: TextIO,
) -> None:
    """Makes what libraries log look like our own entries."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    handler.addFilter(lambda record: not record.getMessage().startswith(_FAILED_WORKFLOW))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    # Without a handler of its own DBOS would add one that writes its own format.
    engine = logging.getLogger("dbos")
    engine.handlers = [handler]
    engine.propagate = False
