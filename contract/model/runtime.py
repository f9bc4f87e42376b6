"""ONNX Runtime, without its telemetry: everybody here imports it from this module.

On Linux it keeps a device's identifier and a database of events below `~/.cache`, and sends them, unless this variable is set before
it is imported; its `disable_telemetry_events` comes too late. It does none of that while `CI` is set.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as onnxruntime  # noqa: TID251
