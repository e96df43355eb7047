"""Frames of a video, evenly spread, as JPEG; decoded by PyAV, which brings its own ffmpeg."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from eval.archives import Found, Stills, UnreadableError
from eval.benchmark import Picture
from eval.settings import Settings
from zppo_core.data.pixels import Bounds, read_picture

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from PIL import Image

SEEK_AHEAD = 4.0  # seconds of video that are decoded through rather than jumped over
QUALITY = 92  # of the JPEG frames
Open = Callable[[], Found]


def frame_times(
    duration: float, n: int, start: float = 0.0, end: float | None = None
) -> list[float]:
    """The middles [s] of `n` equal spans of start..end (the whole video if `end` is None)."""
    stop = duration if end is None else min(end, duration)
    first = min(max(start, 0.0), stop)
    return [first + (k + 0.5) * (stop - first) / n for k in range(n)]


def clip(
    open_file: Open,
    settings: Settings,
    start: float = 0.0,
    end: float | None = None,
    fps: float = 0.0,
) -> Picture:
    """The frames of a video file, or of a folder of stills at `fps`, read when called.

    UnreadableError if nothing can be decoded.
    """

    def read() -> tuple[bytes, ...]:
        file = open_file()
        if isinstance(file, Stills):
            return _stills(file, settings, fps or 3.0, start, end)
        return _decoded(file, settings, start, end)

    return read


def duration_of(file: Found) -> float:
    """Seconds, from the container's header; UnreadableError if it is no video."""
    import av

    if isinstance(file, Stills):
        raise UnreadableError(f"{file.name} is a folder of stills, whose length is unknown")
    try:
        with av.open(_handle(file), "r") as container:
            return _duration(container, container.streams.video[0])
    except (OSError, IndexError, ValueError) as error:  # PyAV's errors are among these
        raise UnreadableError(f"{_name(file)} is no readable video: {error}") from None


def _decoded(
    file: Path | io.BytesIO, settings: Settings, start: float, end: float | None
) -> tuple[bytes, ...]:
    import av

    try:
        with av.open(_handle(file), "r") as container:
            stream = container.streams.video[0]
            stream.thread_type = "AUTO"
            times = frame_times(_duration(container, stream), settings.frames, start, end)
            frames = list(_at(container, stream, times))
    except (OSError, IndexError, ValueError) as error:
        raise UnreadableError(f"{_name(file)} is no readable video: {error}") from None
    if not frames:
        raise UnreadableError(f"{_name(file)} has no frame between {start} s and {end} s")
    return tuple(_jpeg(f.to_image(), settings.frame_pixels) for f in frames)


def _at(container: InputContainer, stream: VideoStream, times: list[float]) -> list[VideoFrame]:
    """The first frame at or after each of `times`, in order; the last one stands in at the end."""
    base = stream.time_base
    if base is None:
        raise ValueError("its unit of time is unknown")
    chosen: list[VideoFrame] = []
    frames: Iterator[VideoFrame] = container.decode(stream)
    frame: VideoFrame | None = None
    for time in times:
        now = frame.time if frame is not None and frame.time is not None else 0.0
        if time > now + SEEK_AHEAD:
            container.seek(int(time / base), stream=stream)
            frames = container.decode(stream)
        while frame is None or frame.time is None or frame.time < time - 1e-6:
            following = next(frames, None)
            if following is None:
                break
            frame = following
        if frame is not None:
            chosen.append(frame)
    return chosen


def _duration(container: InputContainer, stream: VideoStream) -> float:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    if container.duration is not None:
        return float(container.duration) / 1e6
    raise ValueError("its length is unknown")


def _stills(
    folder: Stills, settings: Settings, fps: float, start: float, end: float | None
) -> tuple[bytes, ...]:
    files = folder.members
    times = frame_times(len(files) / fps, settings.frames, start, end)
    chosen = [files[min(int(t * fps), len(files) - 1)] for t in times]
    try:
        pictures = dict(zip(chosen, folder.read(chosen), strict=True))
        return tuple(_jpeg(read_picture(pictures[f]), settings.frame_pixels) for f in chosen)
    except (OSError, SyntaxError, ValueError) as error:
        raise UnreadableError(f"broken frame in {folder.name}: {error}") from None


def _jpeg(image: Image.Image, most: int) -> bytes:
    size = Bounds(0, most).size(image.size)
    if size != image.size:
        image = image.resize(size)
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue()


def _handle(file: Path | io.BytesIO) -> str | io.BytesIO:
    if isinstance(file, Path):
        return str(file)
    file.seek(0)
    return file


def _name(file: Path | io.BytesIO) -> str:
    return file.name if isinstance(file, Path) else "a file in an archive"
