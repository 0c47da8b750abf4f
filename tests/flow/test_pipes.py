"""The pool of pipes: bounded, used again, and never with something in it."""

from __future__ import annotations

import fcntl
import os
import resource

from plane_fixtures import open_descriptors

from edgemesh.proxy.forward.pipes import Pipe, Pipes

CAPACITY = 131072


def taken(pipes: Pipes) -> Pipe:
    pipe = pipes.take()
    assert pipe is not None
    return pipe


def test_a_pipe_that_was_given_back_is_taken_again() -> None:
    with Pipes(1, CAPACITY) as pipes:
        pipe = taken(pipes)
        pipes.give_back(pipe)
        assert taken(pipes) is pipe
        pipes.give_back(pipe)


def test_there_are_not_more_than_the_limit_at_a_time() -> None:
    with Pipes(2, CAPACITY) as pipes:
        first, second = taken(pipes), taken(pipes)
        assert pipes.take() is None
        pipes.give_back(first)
        assert taken(pipes) is first
        pipes.give_back(first)
        pipes.give_back(second)


def test_one_that_was_discarded_makes_room_for_an_empty_one() -> None:
    with Pipes(1, CAPACITY) as pipes:
        pipe = taken(pipes)
        os.write(pipe.writer, b"never read")
        pipes.discard(pipe)
        other = taken(pipes)
        os.write(other.writer, b"x")
        assert os.read(other.reader, 100) == b"x"
        pipes.give_back(other)


def test_it_has_the_capacity_that_was_asked_for() -> None:
    with Pipes(1, CAPACITY) as pipes:
        pipe = taken(pipes)
        assert fcntl.fcntl(pipe.reader, fcntl.F_GETPIPE_SZ) == CAPACITY
        pipes.give_back(pipe)


def test_at_the_end_all_are_closed() -> None:
    before = open_descriptors()
    with Pipes(3, CAPACITY) as pipes:
        for pipe in [taken(pipes) for _ in range(3)]:
            pipes.give_back(pipe)
        assert open_descriptors() == before + 6
    assert open_descriptors() == before


def test_without_descriptors_there_is_none() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Pipes(1, CAPACITY) as pipes:
        spare = [os.open("/dev/null", os.O_RDONLY)]
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (spare[0] + 1, hard))
            while True:
                try:
                    spare.append(os.dup(spare[0]))
                except OSError:
                    break
            assert pipes.take() is None
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for fd in spare:
                os.close(fd)
