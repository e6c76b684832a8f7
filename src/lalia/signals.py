"""The signals that ask a program to stop."""

import signal

# a cluster's scheduler warns with SIGUSR1 before it ends a job; Windows has none
STOP_SIGNALS: tuple[signal.Signals, ...] = (
    signal.SIGINT,
    signal.SIGTERM,
    *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []),
)


def ignore_stop_signals() -> None:
    """Leave it to the parent to answer: a signal to the whole process group reaches its workers too."""
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
