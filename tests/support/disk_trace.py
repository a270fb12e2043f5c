"""What a power cut may lose at each moment of a traced process.

``strace -f -y`` writes the system calls of a process. :class:`DiskTrace` follows them: a written
file may be lost until it is synced, and a new, renamed or removed name until its folder is. Work is
done in folders ``root/<run>/<promise>``. The process writes marks to ``/dev/null`` when a promise
is given, such as before it acknowledges a message. A loss that is possible then is a breach.
"""

import os
import re
import subprocess
from collections import defaultdict
from pathlib import Path

CALLS = (
    "openat,write,writev,pwrite64,pwritev,copy_file_range,sendfile,ftruncate,truncate,"
    "fdatasync,fsync,syncfs,sync,rename,renameat,renameat2,link,linkat,unlink,unlinkat,"
    "mkdir,mkdirat"
)
_WRITES = {"write", "writev", "pwrite64", "pwritev", "ftruncate", "sendfile", "copy_file_range"}
_LINE = re.compile(r"(?P<thread>\d+) +(?P<rest>.*)")
_CALL = re.compile(r"(?P<name>\w+)\((?P<arguments>.*)\) += (?P<result>-?\d+)(?P<file><[^>]*>)?.*")
_RESUMED = re.compile(r"<\.\.\. (\w+) resumed>(.*)")
_FILE = re.compile(r"(?:\d+|AT_FDCWD)<([^>]*)>")
_TEXT = re.compile(r'"((?:[^"\\]|\\.)*)"')
_UNFINISHED = " <unfinished ...>"


def traced(command, trace, *, cwd):
    """Run a command under strace; return the lines of its system calls."""
    strace = ["strace", "-f", "-y", "--seccomp-bpf", "-qq", "-s", "256", "-o", str(trace)]
    done = subprocess.run(
        [*strace, "-e", f"trace={CALLS}", *command], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return trace.read_text(errors="replace").splitlines()


class DiskTrace:
    """The unsynced writes and names of a trace, and the promises that they break.

    ``breaches`` are texts by run, ``kept`` the promises by run that no loss could break.
    """

    def __init__(self, lines, root):
        self.breaches, self.kept = defaultdict(list), defaultdict(set)
        self._root, self._moment = str(root), 0
        self._dirty = {}  # file -> moment of its last write
        self._names = {}  # name whose folder is not synced -> moment of its last change
        self._known = set()
        self._begun = {}  # thread -> beginning of a call that another thread interrupted
        for line in lines:
            if match := _LINE.fullmatch(line):
                self._read(match["thread"], match["rest"])

    def _read(self, thread, text):
        self._moment += 1
        start = self._moment
        if text.endswith(_UNFINISHED):
            self._begun[thread] = text.removesuffix(_UNFINISHED), start
            return
        if resumed := _RESUMED.fullmatch(text):
            before, start = self._begun.pop(thread)
            text = before + resumed[2]
        call = _CALL.fullmatch(text)
        if call and int(call["result"]) >= 0:
            self._apply(call["name"], call["arguments"], call["file"] or "", start)

    def _apply(self, name, arguments, opened, start):
        files, texts = _FILE.findall(arguments), _TEXT.findall(arguments)
        if name == "write" and files[0] == "/dev/null":
            self._mark(texts[0].removesuffix("\\n"))
        elif name in _WRITES:
            self._dirty[files[0]] = self._moment
        elif name == "openat":
            self._open(opened[1:-1], arguments)
        elif name in ("fsync", "fdatasync"):
            self._sync(files[0], start)
        elif name in ("sync", "syncfs"):
            for lost in (self._dirty, self._names):
                for path in [one for one, at in lost.items() if at < start]:
                    del lost[path]
        else:
            self._change(name, *self._paths(files, texts))

    def _change(self, name, path, after=""):
        """Follow a call that takes paths."""
        if name == "truncate":
            self._dirty[path] = self._moment
            return
        if name.startswith(("rename", "link")):
            self._move(path, after, is_copy=name.startswith("link"))
            return
        if name.startswith("unlink"):
            self._check_trimmed(path)
            self._dirty.pop(path, None)
            self._known.discard(path)
        self._names[path] = self._moment

    def _paths(self, files, texts):
        """Return the paths of a call, relative ones in the folders that it names."""
        folders = [*files, "", ""]
        return [os.path.join(folder, text) for folder, text in zip(folders, texts, strict=False)]  # noqa: PTH118

    def _open(self, path, arguments):
        if "O_CREAT" in arguments and path not in self._known:
            self._names[path] = self._moment
        if "O_TRUNC" in arguments:
            self._dirty[path] = self._moment
        self._known.add(path)

    def _sync(self, path, start):
        if self._dirty.get(path, start) < start:
            del self._dirty[path]
        for name in [one for one, at in self._names.items() if at < start]:
            if os.path.dirname(name) == path:  # noqa: PTH120
                if name in self._dirty and not _is_unpromised(name):
                    self._breach(name, "has a durable name, but no durable content")
                del self._names[name]

    def _move(self, before, after, *, is_copy):
        if before in self._dirty:
            if not _is_archived(before) or after.endswith("/seals"):
                self._breach(after, "has its name before its content is durable")
            self._dirty[after] = self._dirty[before]
        if after.endswith("/archived"):
            self._check_trimmed(after)
        self._known.add(after)
        self._names[after] = self._moment
        if not is_copy:
            self._dirty.pop(before, None)
            self._known.discard(before)
            self._names[before] = self._moment

    def _check_trimmed(self, path):
        """Find what the archive may lose when the journal is trimmed, or may be."""
        if path.endswith((".journal", "/archived")):
            for one in self._losses(Path(path).parents[1]):
                if _is_archived(one) or "/quarantine/" in one:
                    self._breach(path, f"lets the journal be trimmed, while {one} may be lost")

    def _mark(self, text):
        promise, folder = text.split(" ")
        if promise == "begun":
            for lost in (self._dirty, self._names):
                for one in [one for one in lost if f"{one}/".startswith(f"{folder}/")]:
                    del lost[one]
            return
        losses = [one for one in self._losses(folder) if not _is_unpromised(one)]
        for one in losses:
            self._breach(one, f"may be lost after: {promise}")
        if not losses:
            self.kept[Path(folder).relative_to(self._root).parts[0]].add(promise)

    def _losses(self, folder):
        inside = f"{folder}/"
        return [one for one in (*self._dirty, *self._names) if f"{one}/".startswith(inside)]

    def _breach(self, path, text):
        if path.startswith(self._root):
            run, _, rest = path.removeprefix(self._root).lstrip("/").partition("/")
            self.breaches[run].append(f"{rest} {text}")


def _is_archived(path):
    return "/archive/" in path


def _is_unpromised(path):
    """Return whether a file may be lost: a lock, or an archive whose data is in the journal."""
    return path.endswith(("/lock", ".lock")) or _is_archived(f"{path}/") or "/quarantine" in path
