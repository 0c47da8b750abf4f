"""What goes wrong between a node and its cloud, as those see it who talk to the cloud."""

from __future__ import annotations


class CloudProblemError(Exception):
    """The connection to the cloud could not be made or is lost; the text says why."""


class CloudAwayError(Exception):
    """There is no connection to the cloud at present; the text says why."""


class NoAnswerError(Exception):
    """The cloud did not answer a question in time."""
