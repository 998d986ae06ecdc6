"""The command line: `python -m longshore`, and the script `longshore`, become the program that the package brings."""
from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from . import _core

_CANNOT = 5  # the program's own code for what this machine cannot do


def main() -> NoReturn:
    program = os.path.join(os.path.dirname(_core.__file__), "bin", "longshore")
    for ignored in (signal.SIGPIPE, signal.SIGXFSZ):  # by Python, and the program would go on ignoring them
        signal.signal(ignored, signal.SIG_DFL)
    try:
        os.execv(program, ["longshore", *sys.argv[1:]])
    except OSError as reason:
        print(f"longshore: cannot start {program}: {reason.strerror}; install the package again", file=sys.stderr)
        sys.exit(_CANNOT)


if __name__ == "__main__":
    main()
