"""Where the rule sets and BPF sources are: inside an installed wheel, or beside it in a clone."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).parents[1]


def shipped(folder: str, name: str) -> Path:
    """The path of a file that comes with edgemesh.

    Args:
        folder: ``netfilter`` or ``bpf``.
        name: of a file in it, ``tproxy.nft``.

    Raises:
        FileNotFoundError: the installation lacks it.
    """
    # A wheel has edgemesh/_shipped (pyproject.toml, force-include); a clone has the folders.
    for root in (_PACKAGE / "_shipped", _PACKAGE.parent):
        path = root / folder / name
        if path.is_file():
            return path
    raise FileNotFoundError(f"edgemesh was installed without {folder}/{name}")
