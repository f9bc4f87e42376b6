"""ONNX Runtime without its telemetry; all code imports it from this module.

On Linux it stores a device identifier and a database of events below `~/.cache`, and sends them, unless this variable is set before the
import; `disable_telemetry_events` comes too late. While `CI` is set, it does neither.
"""

from __future__ import annotations

import os

os.environ["ORT_DISABLE_TELEMETRY"] = "1"

import onnxruntime as onnxruntime  # noqa: TID251
