"""How videos are read: section `read_video` of params.yaml."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.params import setting

READERS = ("pyav", "decord")


@dataclass(frozen=True)
class ReadingParams:
    """How videos are read, and the limits of a decoder; section `read_video` of params.yaml."""

    reader: str = setting("library that decodes the videos", choices=READERS)
    decoder_threads: int = setting("threads per decoder; the pixels do not depend on it", low=1)
    max_seconds_stuck: float = setting("stop a decoder that returns nothing for this many seconds", low=0.1)
    max_memory_mb: int = setting("memory limit of the decoder process, in MB", low=500)
    max_megapixels: float = setting("largest frame that is read, in megapixels", low=0.01)
    max_frames: int = setting("frames read per video; the rest is skipped with a warning", low=1)

    def relevant_params(self) -> dict[str, str | int]:
        """The parameters that the frames depend on."""
        return {"reader": self.reader, "max_frames": self.max_frames}
