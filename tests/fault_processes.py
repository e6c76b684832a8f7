"""Real processes to be killed: each forked from one that has imported lalia, so that it starts at once.

Run as a program, this is that one: it reads a line of JSON per process to start and answers with nothing; a process
leaves its number, its output and its exit code in a folder of its own.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


class Processes:
    """Starts processes, and ends what is left of them."""

    def __init__(self, folder):
        self._folder = folder
        self._count = 0
        self._started = []
        path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._server = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": path}
        )

    def start(self, task, *arguments, cwd=None, env=None, **options):
        """Start a function of fault_tasks with arguments that JSON can hold."""
        self._count += 1
        folder = self._folder / f"process{self._count:03d}"
        folder.mkdir()
        request = {
            "folder": str(folder),
            "task": task,
            "arguments": arguments,
            "options": options,
            "cwd": str(cwd or folder),
            "env": env or {},
        }
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        process = Process(folder)
        self._started.append(process)
        return process

    def run(self, task, *arguments, timeout=120, **options):
        """Start a function, wait for its end, and return the process."""
        process = self.start(task, *arguments, **options)
        process.wait(timeout)
        return process

    def close(self):
        self._server.kill()
        self._server.communicate()
        for process in self._started:
            if not (process.folder / "code").exists():
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)


class Process:
    """A process that was started; it leads a process group of its own, as a command in a terminal does."""

    def __init__(self, folder):
        self.folder = folder

    @property
    def pid(self):
        return int(self._wait_for("pid", 30))

    @property
    def out(self):
        return (self.folder / "out").read_text(encoding="utf-8")

    @property
    def err(self):
        return (self.folder / "err").read_text(encoding="utf-8")

    def wait(self, timeout=120):
        """Return the exit code, negative for a signal."""
        return int(self._wait_for("code", timeout))

    @property
    def code(self):
        return self.wait(0.1)

    def wait_for(self, condition, timeout=60):
        """Wait until something holds while the process runs."""
        end = time.monotonic() + timeout
        while not condition():
            assert not (self.folder / "code").exists(), f"ended with {self.code} before:\n{self.err}"
            assert time.monotonic() < end, f"still waiting after {timeout} s:\n{self.err}"
            time.sleep(0.005)

    def send(self, number, *, to_group=False):
        (os.killpg if to_group else os.kill)(self.pid, number)

    def _wait_for(self, name, timeout):
        end = time.monotonic() + timeout
        while not (self.folder / name).exists():
            assert time.monotonic() < end, f"no {name} after {timeout} s:\n{self.err}"
            time.sleep(0.005)
        return (self.folder / name).read_text()


def _write(path, text):
    path.with_suffix(".new").write_text(text)
    path.with_suffix(".new").replace(path)


def _serve():
    sys.path.insert(0, str(Path(__file__).parent))
    tasks = importlib.import_module("fault_tasks")
    for line in sys.stdin:
        request = json.loads(line)
        if os.fork() == 0:
            _watch(request, tasks)
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG) != (0, 0):
                pass


def _watch(request, tasks):
    """Start the process that was asked for and write down how it ended."""
    folder = Path(request["folder"])
    process = os.fork()
    if process == 0:
        os.setsid()
        _run(request, tasks, folder)
    _write(folder / "pid", str(process))
    _, status = os.waitpid(process, 0)
    _write(folder / "code", str(os.waitstatus_to_exitcode(status)))
    os._exit(0)


def _run(request, tasks, folder):
    os.close(0)
    os.open(os.devnull, os.O_RDONLY)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
    os.environ.update(request["env"])
    os.chdir(request["cwd"])
    code = 1
    try:
        getattr(tasks, request["task"])(*request["arguments"], **request["options"])
        code = 0
    except SystemExit as left:
        code = left.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()
