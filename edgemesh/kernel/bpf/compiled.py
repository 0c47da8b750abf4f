"""One group of programs: compiled by bcc, loaded, attached; used by the compile child only."""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bcc import lib

from edgemesh.kernel.bpf.programs import Group, Program
from edgemesh.kernel.bpf.syscall import link_create, map_info, prog_attach

_STANDARD_ERROR = 2
# bcc's own Python never calls it, and leaves it without a signature.
lib.bpf_table_name.restype = ctypes.c_char_p
lib.bpf_table_name.argtypes = [ctypes.c_void_p, ctypes.c_size_t]


class RefusedError(Exception):
    """The compiler or the kernel does not take a group; says why in one sentence."""


@dataclass(frozen=True, slots=True)
class BuiltGroup:
    """Descriptors by name, open until this process ends.

    Args:
        maps: of the group, among them those that it shares with earlier ones.
        programs: by function.
        links: by the function of the program that they attach; without those that the kernel
            attaches to maps without a link.
    """

    maps: Mapping[str, int]
    programs: Mapping[str, int]
    links: Mapping[str, int]


def build_group(
    group: Group,
    source: Path,
    macros: Mapping[str, int],
    shared: Mapping[str, int],
    *,
    cgroup: int,
    progress: Callable[[str], None],
) -> BuiltGroup:
    """Compile, load and attach a group, in the first of its variants that the kernel takes.

    Args:
        group: its programs.
        source: its C file; headers beside it can be included.
        macros: that it is compiled with.
        shared: maps of earlier groups; one of the same name is the same map.
        cgroup: the descriptor of the directory that programs are attached to.
        progress: is told each step that is done.

    Raises:
        RefusedError: no variant is taken; why, of the last one.
    """
    for number, variant in enumerate(group.variants, start=1):
        try:
            module = _compile(group, source, {**macros, **variant})
            progress(f"compiled {group.name}")
            maps = _maps(module, shared)
            programs = {each.function: _load(module, each) for each in group.programs}
            progress(f"loaded {group.name}")
        except RefusedError:
            if number == len(group.variants):
                raise
        else:
            break
    links = _attach(group, programs, maps, cgroup)
    progress(f"attached {group.name}")
    return BuiltGroup(maps, programs, links)


def _compile(group: Group, source: Path, macros: Mapping[str, int]) -> int:
    flags = [f"-I{source.parent}", *(f"-D{name}={value}" for name, value in macros.items())]
    array = (ctypes.c_char_p * len(flags))(*(os.fsencode(flag) for flag in flags))
    with _said() as said:
        module: int | None = lib.bpf_module_create_c_from_string(
            source.read_bytes(), 0, array, len(flags), True, None
        )
        lines = _lines(said)
    if module is None:
        wrong = next((line for line in lines if "error:" in line), "the compiler does not say why")
        without_map = wrong.startswith("could not open bpf map")
        problem = "gets no maps" if without_map else "does not compile"
        raise RefusedError(f"{group.file} {problem}: {wrong.strip()}")
    return module


def _maps(module: int, shared: Mapping[str, int]) -> dict[str, int]:
    names = [lib.bpf_table_name(module, number) for number in range(lib.bpf_num_tables(module))]
    maps = {name.decode(): int(lib.bpf_table_fd(module, name)) for name in names}
    for name, own in maps.items():
        if name not in shared:
            continue
        if _shape(own) != _shape(shared[name]):
            raise RefusedError(f"the map {name} is declared in two ways")
        # The instructions name this map by its descriptor, and are resolved when the program is
        # loaded: until then another map can take its place.
        os.dup2(shared[name], own)
    return maps


def _shape(fd: int) -> tuple[int, ...]:
    info = map_info(fd)
    return info.type, info.key_size, info.value_size, info.max_entries, info.flags


def _load(module: int, program: Program) -> int:
    name = program.function.encode()
    start = lib.bpf_function_start(module, name)
    if start is None:
        raise RefusedError(f"there is no function {program.function}")
    size = lib.bpf_function_size(module, name)
    facts = (lib.bpf_module_license(module), lib.bpf_module_kern_version(module))
    log = (0, None, 0)  # libbcc then asks for the verifier's log where loading fails
    with _said() as said:
        fd: int = lib.bcc_func_load(
            module, program.type, name, start, size, *facts, *log, None, program.attach_type
        )
        code = ctypes.get_errno()
        lines = _lines(said)
    if fd < 0:
        why = _verdict(lines) or os.strerror(code)
        raise RefusedError(f"the kernel refuses the program {program.function}: {why}")
    return fd


def _verdict(lines: list[str]) -> str:
    """What the verifier found, which stands at the end of its log, before its statistics."""
    log = [line.strip() for line in lines if line.strip()]
    end = next((at for at, line in enumerate(log) if line.startswith("processed ")), len(log))
    return log[end - 1] if end else ""


def _attach(
    group: Group, programs: Mapping[str, int], maps: Mapping[str, int], cgroup: int
) -> dict[str, int]:
    links: dict[str, int] = {}
    with ExitStack() as undo:
        for program in group.programs:
            fd = programs[program.function]
            if program.attach_to == "cgroup":
                links[program.function] = _attach_to_cgroup(program, fd, cgroup)
            elif program.attach_to:
                link = _attach_to_map(program, fd, maps[program.attach_to])
                if link is not None:
                    links[program.function] = link
            if program.function in links:
                undo.callback(os.close, links[program.function])
        undo.pop_all()
    return links


def _attach_to_cgroup(program: Program, fd: int, cgroup: int) -> int:
    try:
        return link_create(fd, cgroup, program.attach_type)
    except PermissionError:
        raise RefusedError(
            f"the kernel does not attach {program.function}: a program that allows no other is"
            " attached to the cgroup or above it"
        ) from None
    except OSError as error:
        known = error.errno == errno.EINVAL
        why = "it has no links to cgroups (5.7 has them)" if known else error.strerror
        raise RefusedError(f"the kernel does not attach {program.function}: {why}") from error


def _attach_to_map(program: Program, fd: int, map_fd: int) -> int | None:
    """Attach by a link where the kernel has one for maps (6.10); else it ends with the map."""
    try:
        return link_create(fd, map_fd, program.attach_type)
    except OSError as error:
        if error.errno != errno.EINVAL:
            why = error.strerror
            raise RefusedError(f"the kernel does not attach {program.function}: {why}") from error
    try:
        prog_attach(fd, map_fd, program.attach_type)
    except OSError as error:
        why = error.strerror
        raise RefusedError(f"the kernel does not attach {program.function}: {why}") from error
    return None


@contextmanager
def _said() -> Iterator[IO[bytes]]:
    """What libraries write to standard error, kept while the block runs, then passed on."""
    sys.stderr.flush()
    before = os.dup(_STANDARD_ERROR)
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), _STANDARD_ERROR)
        try:
            yield kept
        finally:
            os.dup2(before, _STANDARD_ERROR)
            os.close(before)
            kept.seek(0)
            os.write(_STANDARD_ERROR, kept.read())


def _lines(said: IO[bytes]) -> list[str]:
    said.seek(0)
    return said.read().decode(errors="replace").splitlines()
