"""An RTSP camera: H.264 of a moving test pattern, or of a clip in a loop.

Runs on a Python that has the bindings of GStreamer's RTSP server (Debian: python3-gi gir1.2-gst-rtsp-server-1.0
gstreamer1.0-plugins-ugly), which is the system's, not the project's. Prints "ready PORT" once it listens.
"""

from __future__ import annotations

import argparse
import socket
import subprocess
import sys
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtsp", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402 - after the versions were chosen

PATH = "/stream"
ENCODER = "x264enc tune=zerolatency speed-preset=ultrafast threads=1 bitrate=1500"


def main() -> None:
    """Serve until killed."""
    args = arguments()
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(str(args.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(clip_pipeline(args) if args.clip else pattern_pipeline(args))
    factory.set_shared(True)
    if args.user:
        demand_password(server, factory, args)
    server.get_mount_points().add_factory(PATH, factory)
    # Closed connections keep their sessions until they expire; only this call lets them go.
    GLib.timeout_add_seconds(5, lambda: server.get_session_pool().cleanup() >= 0)
    if not server.attach(None):
        sys.exit(f"port {args.port} is taken")
    print(f"ready {server.get_bound_port()}", flush=True)  # noqa: T201
    GLib.MainLoop().run()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--size", default="640x480")
    parser.add_argument("--fps", type=int, default=15)
    parser.add_argument("--pattern", default="ball", help="of videotestsrc: ball moves, smpte stands still, black")
    parser.add_argument("--clip", help="a video to show in a loop instead; needs ffmpeg")
    parser.add_argument("--user")
    parser.add_argument("--password", default="")
    parser.add_argument("--auth", choices=["basic", "digest"], default="basic")
    return parser.parse_args()


def pattern_pipeline(args: argparse.Namespace) -> str:
    width, height = args.size.split("x")
    return (
        f"( videotestsrc is-live=true pattern={args.pattern} "
        f"! video/x-raw,format=I420,width={width},height={height},framerate={args.fps}/1 "
        f"! {ENCODER} key-int-max={args.fps} ! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )


def clip_pipeline(args: argparse.Namespace) -> str:
    """The clip comes over loopback from a child of this process group, so a viewer joins it as it joins a camera."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    width, height = args.size.split("x")
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-re", "-stream_loop", "-1", "-i", args.clip, "-an"]
    command += ["-vf", f"scale={width}:{height},fps={args.fps},format=yuv420p", "-c:v", "libx264", "-threads", "1"]
    command += ["-preset", "ultrafast", "-tune", "zerolatency", "-g", str(args.fps), "-bsf:v", "dump_extra=freq=k"]
    command += ["-f", "rtp", f"rtp://127.0.0.1:{port}?pkt_size=1200"]
    subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    return (
        f"( udpsrc address=127.0.0.1 port={port} buffer-size=1000000 "
        "caps=application/x-rtp,media=video,clock-rate=90000,encoding-name=H264 "
        "! rtph264depay ! h264parse config-interval=1 ! rtph264pay name=pay0 pt=96 config-interval=1 )"
    )


def demand_password(server: Any, factory: Any, args: argparse.Namespace) -> None:
    auth = GstRtspServer.RTSPAuth()
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    if args.auth == "digest":
        auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
        auth.add_digest(args.user, args.password, token)
    else:
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(args.user, args.password), token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    for right in ("access", "construct"):
        permissions.add_permission_for_role("viewer", f"media.factory.{right}", True)  # noqa: FBT003 - its signature
    factory.set_permissions(permissions)


if __name__ == "__main__":
    main()
