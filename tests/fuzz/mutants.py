"""Audio files that have been damaged or made up: from whole ones, by a seed."""

import io
import struct
from collections.abc import Iterator
from importlib.util import find_spec
from random import Random

import numpy as np
import soundfile

# numbers at which counts and sizes overflow, wrap around or lie
LIES = (0, 1, 2, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x10000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFE, 0xFFFF_FFFF)
HEADER_BYTES = 160


def whole_files() -> dict[str, bytes]:
    """Return a small file of each format by its extension."""
    samples = 0.3 * np.sin(2 * np.pi * 220 * np.arange(4_800) / 16_000)
    stereo = np.stack([samples, -samples], axis=1)
    wanted = {
        "wav": ("WAV", "PCM_16", samples),
        "float.wav": ("WAV", "FLOAT", stereo),
        "24.wav": ("WAVEX", "PCM_24", stereo),
        "flac": ("FLAC", "PCM_16", samples),
        "stereo.flac": ("FLAC", "PCM_24", stereo),
        "mp3": ("MP3", "MPEG_LAYER_III", samples),
        "ogg": ("OGG", "VORBIS", samples),
        "opus": ("OGG", "OPUS", samples),
        "aiff": ("AIFF", "PCM_16", samples),
    }
    files = {}
    for name, (container, subtype, written) in wanted.items():
        memory = io.BytesIO()
        soundfile.write(memory, written, 16_000, format=container, subtype=subtype)
        files[name] = memory.getvalue()
    if find_spec("av") is not None:
        files |= {"m4a": _encode("mp4", "aac", samples), "webm": _encode("webm", "libopus", samples)}
    return files


def _encode(container: str, codec: str, samples: np.ndarray) -> bytes:
    import av

    memory = io.BytesIO()
    with av.open(memory, "w", format=container) as file:
        stream = file.add_stream(codec, rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate = 16_000
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return memory.getvalue()


def make_mutants(count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Yield names (number, what was done, format) and contents of damaged files, the same for the same seed."""
    random = Random(seed)
    files = whole_files()
    for number in range(count):
        extension = random.choice(list(files))
        damage = random.choice(DAMAGES)
        content = damage(random, bytearray(files[extension]))
        if random.random() < 0.2:
            content = random.choice(DAMAGES)(random, content)
        yield f"{number}-{damage.__name__}.{extension}", bytes(content)


def flip_bits(random: Random, content: bytearray) -> bytearray:
    for _ in range(random.choice((1, 2, 8, 64))):
        if content:
            content[random.randrange(len(content))] ^= 1 << random.randrange(8)
    return content


def flip_bits_of_the_header(random: Random, content: bytearray) -> bytearray:
    for _ in range(random.choice((1, 2, 4))):
        if content:
            content[random.randrange(min(HEADER_BYTES, len(content)))] ^= 1 << random.randrange(8)
    return content


def truncate(random: Random, content: bytearray) -> bytearray:
    return content[: random.randrange(len(content) + 1)]


def lie_in_the_header(random: Random, content: bytearray) -> bytearray:
    for _ in range(random.choice((1, 1, 2, 4))):
        packing = random.choice(("<H", ">H", "<I", ">I", "<Q", ">Q"))
        size = struct.calcsize(packing)
        if len(content) > size:
            start = random.randrange(min(HEADER_BYTES, len(content) - size))
            value = random.choice((*LIES, 2**63, 2**64 - 1, random.getrandbits(64)))
            content[start : start + size] = struct.pack(packing, value % 2 ** (8 * size))
    return content


def cut_out(random: Random, content: bytearray) -> bytearray:
    start = random.randrange(len(content) + 1)
    del content[start : start + random.choice((1, 7, 100, 2_000))]
    return content


def repeat(random: Random, content: bytearray) -> bytearray:
    start = random.randrange(len(content) + 1)
    piece = content[start : start + random.choice((1, 16, 400))]
    return content[:start] + piece * random.choice((2, 50)) + content[start:]


def overwrite(random: Random, content: bytearray) -> bytearray:
    start = random.randrange(len(content) + 1)
    piece = random.choice((bytes(64), b"\xff" * 64, random.randbytes(64), struct.pack("<16f", *[float("nan")] * 16)))
    content[start : start + len(piece)] = piece
    return content


DAMAGES = (
    flip_bits,
    flip_bits_of_the_header,
    truncate,
    lie_in_the_header,
    lie_in_the_header,
    cut_out,
    repeat,
    overwrite,
)
