"""What the verbs print."""

from __future__ import annotations

import os
import subprocess
import sys

from harness import PROJECT


def test_reader_of_progress_that_has_gone_ends_nothing() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    code = "from fleet.configuration.verbs import tell; tell('one'); tell('two'); print('deployed')"
    with os.fdopen(writer, "w") as gone:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=PROJECT, stdout=subprocess.PIPE, stderr=gone, text=True, check=True
        )
    assert done.stdout == "deployed\n"
