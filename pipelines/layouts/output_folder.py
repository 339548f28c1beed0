"""The folder that an import writes to: filled whole or left as it was, and nothing of another hand is replaced."""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from radseg.pipelines.errors import InputError
from radseg.pipelines.layouts.item import Found, MadeLabel

_PART, _OLD = ".import.part", ".import.old"
_FOLDERS = ("images", "labels")


def earlier_import(output: Path, overwrite: bool) -> tuple[str, ...]:
    """Names of what an earlier import wrote and this one replaces; one that was killed while it replaced is undone.

    Raises:
        InputError: `output` is a file, or has a datalist and mustn't be overwritten.
    """
    if output.exists() and not output.is_dir():
        raise InputError(f"{output}: isn't a folder; choose another")
    _put_back(output / _OLD, output)
    datalist = output / "datalist.json"
    if not datalist.exists():
        return ()
    if not overwrite:
        raise InputError(f"{datalist}: is there already; choose another folder or pass --overwrite")
    return ("datalist.json", *_folders_of(datalist))


def see_free(found: Found, output: Path, earlier: Sequence[str], copy: bool) -> None:
    """See that the folders to be written are free, and that what is replaced isn't what is imported.

    Raises:
        InputError: a folder of another hand is in the way, or the data set lies in a folder that would go.
    """
    make_labels = copy or any(isinstance(item.label, MadeLabel) for item in found.items)
    for folder in (["images"] if copy else []) + (["labels"] if make_labels else []):
        if (output / folder).exists() and folder not in earlier:
            raise InputError(
                f"{output / folder}: is there already and wasn't written by an import; choose another folder"
            )
    going = [(output / folder).resolve() for folder in earlier if folder in _FOLDERS]
    files = [file for item in found.items for file in (item.image, item.label) if isinstance(file, Path)]
    for file in files if going else ():
        if any(file.resolve().is_relative_to(folder) for folder in going):
            raise InputError(f"{file}: lies in the folder that would be replaced; import to another folder")


def relative_to(output: Path, file: Path) -> str:
    """How a datalist in `output` names `file`."""
    # folders are resolved, since ".." behind a linked folder leads elsewhere; the file's own name is kept
    return Path(os.path.relpath(file.parent.resolve() / file.name, output.resolve())).as_posix()


def _folders_of(datalist: Path) -> list[str]:
    """The folders that the import that wrote this datalist made; none if another hand wrote it."""
    try:
        content = json.loads(datalist.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    folders = content.get("written", []) if isinstance(content, dict) else []
    return [folder for folder in _FOLDERS if isinstance(folders, list) and folder in folders]


@contextmanager
def written_whole(output: Path, earlier: Sequence[str]) -> Iterator[Path]:
    """A folder to fill, whose contents move into `output` at the end, or vanish if filling it failed.

    What `earlier` names goes only then.
    """
    part, old = output / _PART, output / _OLD
    above = [folder for folder in (output, *output.parents) if not folder.exists()]
    moved: list[str] = []
    done = False
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        made = sorted((path.name for path in part.iterdir()), key=lambda name: (name == "datalist.json", name))
        old.mkdir()
        for name in earlier:
            if (output / name).exists():
                (output / name).rename(old / name)
        for name in made:
            (part / name).rename(output / name)
            moved.append(name)
        done = True
    except OSError as error:
        trouble = error.strerror or str(error)
        raise InputError(f"{error.filename or output}: {trouble}; check the disk or choose another folder") from error
    finally:
        if done:
            shutil.rmtree(old, ignore_errors=True)
        shutil.rmtree(part, ignore_errors=True)
        if not done:
            for name in moved:
                _remove(output / name)
            _put_back(old, output)
            for folder in above:
                if folder.is_dir() and not any(folder.iterdir()):
                    folder.rmdir()


def _put_back(old: Path, output: Path) -> None:
    """Undoes a replacement that was cut short: the earlier result is the only whole one."""
    if not old.is_dir():
        return
    for path in old.iterdir():
        _remove(output / path.name)
        path.rename(output / path.name)
    old.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
