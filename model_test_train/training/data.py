"""Crops on disk -> batches, one picture at a time: memory does not grow with the data.

What is drawn at random for a sample depends on (seed, epoch, its place) alone, so it is the same for any number of workers
and after any interruption.
"""

import copy
import math
import multiprocessing
import os
import signal
import threading
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler

from model_test_train.networks.input_contract import InputContract, resized
from model_test_train.training.augmentations.augmentation import Augmentation
from model_test_train.training.augmentations.forgery import Forged
from model_test_train.training.augmentations.mixing import Batch
from model_test_train.training.distributed import ALONE, ProcessGroup
from pipeline.index import FAKE, REAL, Video, original_of
from preprocessing.crops.crops import Crop
from preprocessing.crops.stores import read_crop, read_mask
from preprocessing.video.sampling import evenly_spaced

CLUSTERS = hasattr(signal, "sigtimedwait")  # of the systems that have them


@dataclass(frozen=True, slots=True)
class Sample:
    """A crop and the truth about its video."""

    crop: Crop
    video: Video


Forge = Callable[[np.ndarray], Forged]
Change = Callable[[np.ndarray, int], np.ndarray]
Group = tuple[Sample, ...]  # samples that stay together in a batch: a fake and its original's, or one sample alone


class Samples(Sequence[Sample]):
    """Samples in an array and a short table: workers share these, where they would copy objects by counting their users."""

    def __init__(self, samples: Iterable[Sample]) -> None:
        sources: dict[tuple[str, Path, str], int] = {}
        self.sources: list[tuple[Video, Path, Path | None, str]] = []
        rows = array("i")
        for sample in samples:
            crop = sample.crop
            suffix = crop.name.removeprefix(f"{crop.frame}_{crop.track}")
            source = sources.setdefault((crop.video, crop.folder, suffix), len(sources))
            if source == len(self.sources):
                self.sources.append((sample.video, crop.folder, crop.masks, suffix))
            rows.extend((source, crop.frame, crop.track, *crop.window))
        self.rows: NDArray[np.int32] = np.array(rows, np.int32).reshape(-1, 7)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            part = copy.copy(self)
            part.rows = self.rows[place]
            return part
        source, frame, track, *window = self.rows[place].tolist()
        video, folder, masks, suffix = self.sources[source]
        return Sample(Crop(video.video, frame, track, f"{frame}_{track}{suffix}", tuple(window), folder, masks), video)


class Groups(Sequence[Group]):
    """Groups of samples, kept as `Samples`."""

    def __init__(self, groups: Sequence[Group]) -> None:
        self.samples = Samples(sample for group in groups for sample in group)
        self.sizes = np.array([len(group) for group in groups], int)
        self.ends = np.cumsum(self.sizes)

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, place: Any) -> Any:
        first = self.ends[place - 1] if place else 0
        return tuple(self.samples[number] for number in range(first, self.ends[place]))

    def fakes(self) -> NDArray[np.int64]:
        """How many samples of each group are fakes."""
        labels = np.array([video.label for video, *_ in self.samples.sources], int)[self.samples.rows[:, 0]]
        return np.add.reduceat(labels, self.ends - self.sizes)


def samples_by_video(
    videos: Sequence[Video], crops: Sequence[Crop], frames_per_video: int, everybody: bool
) -> dict[str, list[Sample]]:
    """For each video, its crops at equidistant frames: of each person; or of a fake only those of the main person.

    Only he or she is sure to be manipulated in a fake; in a real video everybody is real.
    """
    known = {video.video: video for video in videos}
    tracks: dict[tuple[str, int], list[Sample]] = {}
    for crop in sorted(crops, key=lambda crop: (crop.video, crop.track, crop.frame)):
        video = known.get(crop.video)
        if video and (everybody or video.label == REAL or not crop.track):
            tracks.setdefault((crop.video, crop.track), []).append(Sample(crop, video))
    chosen: dict[str, list[Sample]] = {}
    for (name, _), samples in tracks.items():
        places = evenly_spaced(len(samples), frames_per_video)
        chosen.setdefault(name, []).extend(samples[place] for place in places)
    return chosen


def pairs(chosen: dict[str, list[Sample]], share_of_real: float = 1.0, share_of_fake: float = 1.0) -> list[Group]:
    """Each crop of a fake beside that of its original nearest in time, so that only the manipulation tells them apart.

    Whoever else is in that frame of the original joins them: small or at the side is no sign of a fake. A fake whose
    original is not among the videos, and a real video that none of the fakes was made of, come crop by crop, as `singles`.
    """
    videos = {name: samples[0].video for name, samples in chosen.items()}
    originals = {name: original.video for name, video in videos.items() if (original := original_of(video, videos))}
    groups: list[Group] = []
    for fake, its_original in originals.items():
        groups += [(sample, *_beside(sample, chosen[its_original])) for sample in chosen[fake]]
    in_pairs = {*originals, *originals.values()}
    alone = {name: samples for name, samples in chosen.items() if name not in in_pairs}
    return groups + singles(alone, share_of_real, share_of_fake)


def _beside(fake: Sample, original: list[Sample]) -> list[Sample]:
    """The crop of the original's main person nearest in time, and the other people's of that frame."""
    first = original[0].crop.track  # 0, unless the main person's crops are too small
    nearest = min((o for o in original if o.crop.track == first), key=lambda o: abs(o.crop.frame - fake.crop.frame))
    others = [o for o in original if o.crop.frame == nearest.crop.frame and o.crop.track != first]
    return [nearest, *others]


def singles(chosen: dict[str, list[Sample]], share_of_real: float, share_of_fake: float) -> list[Group]:
    """Every crop by itself; of each video only a share of the frames, by its label, to balance the classes."""
    groups: list[Group] = []
    for samples in chosen.values():
        share = share_of_fake if samples[0].video.label == FAKE else share_of_real
        groups += [(samples[place],) for place in evenly_spaced(len(samples), max(1, round(share * len(samples))))]
    return groups


def counts_of(groups: Groups) -> str:
    """How many groups of each kind there are, and how many pictures of each class, in a line."""
    fakes, sizes = groups.fakes(), groups.sizes
    beside, lone_fakes, lone_reals = (int(kind.sum()) for kind in ((fakes > 0) & (fakes < sizes), fakes == sizes, fakes == 0))
    kinds = f"{beside} fakes beside their originals, {lone_fakes} fakes alone, {lone_reals} real ones alone"
    return f"{len(groups)} training groups ({kinds}); {(sizes - fakes).sum()} real and {fakes.sum()} fake pictures"


class EpochBatches(Sampler):
    """Yields batches of (epoch, place) for the groups in an order of the epoch's own: each once, in batches of nearly one size.

    Of a team, each member has its share of every batch. `first` leaves out the steps that are done.
    """

    def __init__(self, groups: int, per_batch: int, seed: int, epoch: int, first: int, team: ProcessGroup) -> None:
        order = np.random.default_rng([seed, epoch]).permutation(groups)
        count = min(max(1, round(groups / per_batch)), max(1, groups // team.size))
        batches = np.array_split(order, count)[first:]
        self.epoch, self.batches = epoch, [np.array_split(batch, team.size)[team.rank] for batch in batches]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(self.epoch, int(place)) for place in batch] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True)
class Face:
    """A crop as it lies on disk, and the truth about it."""

    picture: np.ndarray
    label: float
    changed: np.ndarray  # (height, width), 1 where it was manipulated; NaN where nobody knows


def forged(faces: list[Face], forge: Forge) -> list[Face]:
    """A fake made of the group's real face takes the place of the fake in it; where there is none, it joins the real one.

    The real face becomes what the fake is to be compared with.
    """
    real = next((number for number, face in enumerate(faces) if face.label == REAL), None)
    if real is None:
        return faces
    made = forge(faces[real].picture)
    fake = Face(made.fake, float(FAKE), made.changed.astype(np.float32))
    faces = [*faces[:real], replace(faces[real], picture=made.real), *faces[real + 1 :]]
    place = next((number for number, face in enumerate(faces) if face.label == FAKE), None)
    return [*faces, fake] if place is None else [*faces[:place], fake, *faces[place + 1 :]]


class TrainingGroups(Dataset):
    """(epoch, place) -> the group's pictures (g, size, size, 3) uint8, its labels (g,), its masks (g, h, w).

    A mask says what share of each place of the network's feature map was manipulated; it is NaN where nobody knows.
    """

    def __init__(
        self,
        groups: Groups,
        contract: InputContract,
        places: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.groups = groups
        self.contract = contract
        self.places = places
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, place = key
        faces = [self._face(sample) for sample in self.groups[place]]
        drawn = self.seed, epoch, place
        if forge := self.augmentation.forgery(drawn):
            faces = forged(faces, forge)
        # All of the group alike: a pair is moved and lit alike.
        move = self.augmentation.move(drawn)
        pictures = np.stack([self.contract.fit(move(face.picture)) for face in faces])
        looks = self.augmentation.look(torch.from_numpy(pictures).permute(0, 3, 1, 2), drawn)
        masks = np.stack([resized(move(face.changed), *self.places) for face in faces])
        labels = torch.tensor([face.label for face in faces])
        return looks.permute(0, 2, 3, 1).contiguous(), labels, torch.from_numpy(masks)

    def pictures_a_group(self) -> float:
        """On average, with those that are forged of real faces without a fake."""
        return float(self.groups.sizes.mean() + chance_of_forgery(self.augmentation) * (self.groups.fakes() == 0).mean())

    def _face(self, sample: Sample) -> Face:
        picture, crop = read_crop(sample.crop.path), sample.crop
        if sample.video.label == REAL or crop.mask is None:
            unknown = np.float32(0 if sample.video.label == REAL else np.nan)
            return Face(picture, float(sample.video.label), np.full(picture.shape[:2], unknown))
        return Face(picture, float(FAKE), read_mask(crop.mask).astype(np.float32))


class Pictures(Dataset):
    """place -> the sample's picture (size, size, 3) uint8, as it is, or as `change` of (picture, place) makes it."""

    def __init__(self, samples: Sequence[Sample], contract: InputContract, change: Change | None = None) -> None:
        self.samples = samples
        self.contract = contract
        self.change = change

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, place: int) -> torch.Tensor:
        picture = read_crop(self.samples[place].crop.path)
        return torch.from_numpy(self.contract.fit(self.change(picture, place) if self.change else picture))


def chance_of_forgery(augmentation: Augmentation) -> float:
    """That a real face of a group is made a fake."""
    return 1 - math.prod(1 - forgery.p for forgery in augmentation.forgeries.values())


def training_batches(
    dataset: TrainingGroups, batch_size: int, workers: int, seed: int, epoch: int, first: int = 0, team: ProcessGroup = ALONE
) -> DataLoader:
    """Batches of about `batch_size` pictures, or this member's share of them."""
    per_batch = max(1, round(batch_size / dataset.pictures_a_group()))
    batches = EpochBatches(len(dataset), per_batch, seed, epoch, first, team)
    return Reading(dataset, batch_sampler=batches, num_workers=workers, collate_fn=collate)


def pictures_in(batches: DataLoader) -> int:
    """About how many pictures training batches hold together; how many are forged beside lone real ones is left to chance."""
    dataset, sampler = cast(TrainingGroups, batches.dataset), cast(EpochBatches, batches.batch_sampler)
    sizes = dataset.groups.sizes + chance_of_forgery(dataset.augmentation) * (dataset.groups.fakes() == 0)
    return round(sum(float(sizes[places].sum()) for places in sampler.batches))


def picture_batches(
    samples: Sequence[Sample], contract: InputContract, batch_size: int, workers: int, change: Change | None = None
) -> DataLoader:
    """Batches of pictures, in the samples' order."""
    return Reading(Pictures(samples, contract, change), batch_size=batch_size, num_workers=workers)


class Reading(DataLoader):
    """A cluster tells every process to end: who reads goes on until who learns, its parent, has finished the step."""

    def __init__(self, dataset: Any, **settings: Any) -> None:
        super().__init__(dataset, worker_init_fn=_obey_parent, **settings)

    def __iter__(self) -> Any:
        if not CLUSTERS:
            return super().__iter__()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # whoever reads is born with it
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _obey_parent(_worker: int) -> None:
    parent = multiprocessing.parent_process()
    if CLUSTERS and parent:
        threading.Thread(target=_end_with, args=[parent.pid], daemon=True).start()


def _end_with(parent: int) -> None:
    """At its word, or because it is gone: torch does not notice that of a parent which was killed in these first moments."""
    while os.getppid() == parent:
        told = signal.sigtimedwait({signal.SIGTERM}, 1)
        if told and told.si_pid == parent:
            break
    os._exit(0)


def collate(groups: list[Batch]) -> Batch:
    pictures, labels, masks = (torch.cat(parts) for parts in zip(*groups, strict=True))
    return pictures, labels, masks
