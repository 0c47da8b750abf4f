"""The agent's log: one JSON object a line, from structlog and from libraries' own logging.

A line has ``event``, ``level``, ``time`` (ISO 8601, UTC), ``component`` and whatever was given.
"""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import Any

import msgspec

from edgemesh.model.observe_settings import LogSettings
from edgemesh.observe.lean import structlog
from edgemesh.observe.redact import redact
from edgemesh.observe.sink import LineSink, open_sink


def get_logger(name: str) -> structlog.typing.FilteringBoundLogger:
    """A logger whose lines carry ``name``; may be made before the log is configured."""
    logger: structlog.typing.FilteringBoundLogger = structlog.get_logger(component=name)
    return logger


def configure_logging(settings: LogSettings) -> LineSink:
    """Send all log lines where the settings say, from now on; called once, at the start.

    Returns:
        The sink, which flow reports share. Lines of the log are flushed one by one; somebody
        has to run the sink for what could not be written at once.

    Raises:
        OperatorError: the log file cannot be opened.
    """
    sink = open_sink(settings)
    level = logging.getLevelNamesMapping()[settings.level.upper()]
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            _redact,
            structlog.processors.JSONRenderer(_to_json),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: _SinkLogger(sink),
        cache_logger_on_first_use=False,
    )
    # What libraries say is worth a line from a warning on, whatever our own level is.
    logging.basicConfig(handlers=[_ForeignHandler()], level=max(level, logging.WARNING), force=True)
    return sink


class _SinkLogger:
    """What structlog calls with a finished line, by whatever level."""

    def __init__(self, sink: LineSink) -> None:
        self._sink = sink

    def msg(self, line: bytes) -> None:
        self._sink.write(line + b"\n")
        self._sink.flush()

    debug = info = warning = error = critical = msg


class _ForeignHandler(logging.Handler):
    """Hands records of the standard library's logging on."""

    def emit(self, record: logging.LogRecord) -> None:
        get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info)


def _redact(_logger: Any, _method: str, fields: MutableMapping[str, Any]) -> dict[str, Any]:
    redacted: dict[str, Any] = redact(fields)
    return redacted


def _to_json(fields: Any, **_options: Any) -> bytes:
    return msgspec.json.encode(fields, enc_hook=lambda value: redact(repr(value)))
