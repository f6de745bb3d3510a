"""edge-fer: facial expressions from camera streams to MQTT events, on ARM boards."""

import os

__version__ = "0.1.0"

# FFmpeg and OpenCV write to stderr on their own, addresses with passwords included; what went wrong is told in our own
# words instead. OpenCV reads both when it is first imported, so they are set before any module can.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")
