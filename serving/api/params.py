"""Settings of the server."""

from dataclasses import dataclass

from explain_deepfakes.pipeline.cpus import serving_threads, serving_workers
from explain_deepfakes.pipeline.params import DEVICES, setting
from explain_deepfakes.serving.models.backends import BACKENDS


@dataclass(frozen=True)
class ServerParams:
    host: str = setting("address to listen on; 127.0.0.1 accepts connections from this machine only")
    port: int = setting("port to listen on", low=1, high=65535)
    workers: int = setting("number of worker processes; each examines one file at a time", low=1, auto=serving_workers)
    threads: int = setting("CPU threads of each worker", low=1, auto=serving_threads)
    backend: str = setting("runtime of the network; heatmaps always use PyTorch", choices=BACKENDS)
    frames: int = setting("frames to sample from a video; 0: as many as the checkpoint card says", low=0)
    allowed_hosts: tuple[str, ...] = setting("names of this server on other machines, such as faces.example.org")
    device: str = setting("device that the network runs on", choices=DEVICES)
    max_queued: int = setting("largest number of waiting jobs; further uploads are refused with status 429", low=1)
    max_connections: int = setting("largest number of connections; further ones are refused with status 503", low=1)
    max_jobs_gb: float = setting("largest size of all jobs together in GB; the oldest finished ones are then removed", low=0)
    max_upload_mb: float = setting("largest size of a file in MB", low=0.001)
    max_seconds: float = setting("longest duration of a video in seconds", low=1)
    max_gigapixels: float = setting("largest number of pixels in all frames of a video together, in billions", low=0.001)
    deadline: float = setting("longest time that a job may run, in seconds", low=1)
    seconds_between_bytes: float = setting("an upload that sends no data for this many seconds is refused", low=0.1)
    seconds_to_send: float = setting("longest time that an upload may take, in seconds", low=0.1)
    seconds_to_check: float = setting("longest time to count the frames of an upload, in seconds", low=0.1)
    seconds_to_end: float = setting("time for running jobs to finish when the server shuts down, in seconds", low=0)
    keep_minutes: float = setting("time to keep a finished job and its files, in minutes", low=0.01)
