"""Load crops from disk in batches, without memory growing with the data.

All random draws for a sample depend only on (seed, epoch, index), so they are the same for any number of workers and after any
interruption.
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
from typing import Any, TypeVar, cast, overload

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset, Sampler
from torch.utils.data.dataloader import _BaseDataLoaderIter

from explain_deepfakes.model_test_train.networks.input_contract import InputContract, resize
from explain_deepfakes.model_test_train.training.augmentations.augmentation import Augmentation
from explain_deepfakes.model_test_train.training.augmentations.forgery import ForgedPair
from explain_deepfakes.model_test_train.training.augmentations.mixing import Batch
from explain_deepfakes.model_test_train.training.distributed import SINGLE_PROCESS, ProcessGroup
from explain_deepfakes.pipeline.index import FAKE, REAL, Video, original_of
from explain_deepfakes.preprocessing.crops.crops import Crop, Window
from explain_deepfakes.preprocessing.crops.stores import read_crop, read_mask
from explain_deepfakes.preprocessing.video.sampling import EVENLY, evenly_spaced, sample_indices

HAS_SIGTIMEDWAIT = hasattr(signal, "sigtimedwait")  # not on macOS or Windows

Loaded = TypeVar("Loaded")


@dataclass(frozen=True, slots=True)
class Sample:
    """A crop and the video, with its label, that it was cut from."""

    crop: Crop
    video: Video


Forge = Callable[[np.ndarray], ForgedPair]
PictureTransform = Callable[[np.ndarray, int], np.ndarray]
SampleGroup = tuple[Sample, ...]  # samples that stay together in a batch: a fake and those of its original, or a single one


class Samples(Sequence[Sample]):
    """Samples stored compactly in an array and a short table.

    Worker processes share the memory of an array; they would copy Python objects, because reference counts change.
    """

    def __init__(self, samples: Iterable[Sample]) -> None:
        sources: dict[tuple[str, Path, str], int] = {}
        self.sources: list[tuple[Video, Path, Path | None, str]] = []
        rows, windows = array("i"), array("f")
        for sample in samples:
            crop = sample.crop
            suffix = crop.name.removeprefix(f"{crop.frame}_{crop.track}")
            source = sources.setdefault((crop.video, crop.folder, suffix), len(sources))
            if source == len(self.sources):
                self.sources.append((sample.video, crop.folder, crop.masks, suffix))
            rows.extend((source, crop.frame, crop.track))
            windows.extend(crop.window)
        self.rows: NDArray[np.int32] = np.array(rows, np.int32).reshape(-1, 3)
        self.windows: NDArray[np.float32] = np.array(windows, np.float32).reshape(-1, len(Window._fields))

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> "Samples": ...
    def __getitem__(self, index: int | slice) -> "Sample | Samples":
        if isinstance(index, slice):
            selected = copy.copy(self)
            selected.rows, selected.windows = self.rows[index], self.windows[index]
            return selected
        source, frame, track = self.rows[index].tolist()
        x0, y0, x1, y1, angle, side = self.windows[index].tolist()
        window = Window(x0, y0, x1, y1, angle, int(side))
        video, folder, masks, suffix = self.sources[source]
        crop = Crop(video.video, frame, track, f"{frame}_{track}{suffix}", window, folder, masks)
        return Sample(crop, video)


class SampleGroups(Sequence[SampleGroup]):
    """Groups of samples, stored as `Samples`."""

    def __init__(self, groups: Sequence[SampleGroup]) -> None:
        self.samples = Samples(sample for group in groups for sample in group)
        self.sizes = np.array([len(group) for group in groups], int)
        self.ends = np.cumsum(self.sizes)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> SampleGroup: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[SampleGroup]: ...
    def __getitem__(self, index: int | slice) -> SampleGroup | Sequence[SampleGroup]:
        if isinstance(index, slice):
            return [self[group] for group in range(*index.indices(len(self)))]
        first = self.ends[index - 1] if index else 0
        return tuple(self.samples[sample] for sample in range(first, self.ends[index]))

    def fake_counts(self) -> NDArray[np.int64]:
        """The number of fakes in each group."""
        labels = np.array([video.label for video, *_ in self.samples.sources], int)[self.samples.rows[:, 0]]
        return np.add.reduceat(labels, self.ends - self.sizes)


def samples_by_video(
    videos: Sequence[Video], crops: Sequence[Crop], frames_per_video: int, everybody: bool, sampling: str = EVENLY
) -> dict[str, list[Sample]]:
    """Crops of some frames of each video, of every person; in a fake, only of the main person unless `everybody`.

    In a fake, only the main person is certain to be manipulated; in a real video everybody is real. Of a fake with segments,
    only the frames inside them are used, unless `everybody`.
    """
    by_name = {video.video: video for video in videos}
    tracks: dict[tuple[str, int], list[Sample]] = {}
    for crop in sorted(crops, key=lambda crop: (crop.video, crop.track, crop.frame)):
        video = by_name.get(crop.video)
        if video and (everybody or video.label == REAL or (not crop.track and video.is_manipulated(crop.frame))):
            tracks.setdefault((crop.video, crop.track), []).append(Sample(crop, video))
    chosen: dict[str, list[Sample]] = {}
    for (name, _), samples in tracks.items():
        indices = sample_indices(len(samples), frames_per_video, sampling)
        chosen.setdefault(name, []).extend(samples[index] for index in indices)
    return chosen


def pair_with_originals(
    chosen: dict[str, list[Sample]], share_of_real: float = 1.0, share_of_fake: float = 1.0
) -> list[SampleGroup]:
    """Group each crop of a fake with the crop of its original nearest in time, so that they differ only by the manipulation.

    Other people in that frame of the original join the group, so that a small face or one at the side is no cue for a fake.
    Fakes without their original, and real videos without a fake made from them, become groups of a single crop.
    """
    videos = {name: samples[0].video for name, samples in chosen.items()}
    originals = {name: original.video for name, video in videos.items() if (original := original_of(video, videos))}
    groups: list[SampleGroup] = []
    for fake, original_name in originals.items():
        groups += [(sample, *_nearest_in_time(sample, chosen[original_name])) for sample in chosen[fake]]
    paired = {*originals, *originals.values()}
    unpaired = {name: samples for name, samples in chosen.items() if name not in paired}
    return groups + single_crop_groups(unpaired, share_of_real, share_of_fake)


def _nearest_in_time(fake: Sample, original: list[Sample]) -> list[Sample]:
    """The original's crop of the main person nearest in time, and the crops of other people in that frame."""
    first = original[0].crop.track  # 0, unless the main person's crops are too small
    nearest = min((o for o in original if o.crop.track == first), key=lambda o: abs(o.crop.frame - fake.crop.frame))
    others = [o for o in original if o.crop.frame == nearest.crop.frame and o.crop.track != first]
    return [nearest, *others]


def single_crop_groups(chosen: dict[str, list[Sample]], share_of_real: float, share_of_fake: float) -> list[SampleGroup]:
    """A group for each crop; to balance the classes, only a share of each video's frames is used, depending on its label."""
    groups: list[SampleGroup] = []
    for samples in chosen.values():
        share = share_of_fake if samples[0].video.label == FAKE else share_of_real
        groups += [(samples[index],) for index in evenly_spaced(len(samples), max(1, round(share * len(samples))))]
    return groups


def describe_groups(groups: SampleGroups) -> str:
    """A line with the number of groups of each kind and of pictures of each class."""
    fakes, sizes = groups.fake_counts(), groups.sizes
    paired, only_fake, only_real = (int(kind.sum()) for kind in ((fakes > 0) & (fakes < sizes), fakes == sizes, fakes == 0))
    kinds = f"{paired} fakes paired with their original, {only_fake} unpaired fakes, {only_real} unpaired real"
    return f"{len(groups)} training groups ({kinds}); {(sizes - fakes).sum()} real and {fakes.sum()} fake pictures"


class EpochBatches(Sampler):
    """Yields batches of (epoch, index) of groups: shuffled for the epoch, each group once, in batches of nearly equal size.

    In a process group, each process gets its share of every batch. The batches before `first` are skipped.
    """

    def __init__(self, groups: int, per_batch: int, seed: int, epoch: int, first: int, process_group: ProcessGroup) -> None:
        order = np.random.default_rng([seed, epoch]).permutation(groups)
        count = min(max(1, round(groups / per_batch)), max(1, groups // process_group.size))
        batches = np.array_split(order, count)[first:]
        self.epoch = epoch
        self.batches = [np.array_split(batch, process_group.size)[process_group.rank] for batch in batches]

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        return ([(self.epoch, int(index)) for index in batch] for batch in self.batches)

    def __len__(self) -> int:
        return len(self.batches)


@dataclass(frozen=True)
class LabelledCrop:
    """A stored crop with its label and mask."""

    picture: np.ndarray
    label: float
    mask: np.ndarray  # (height, width), 1 where it was manipulated; NaN where that is unknown


def apply_forgery(crops: list[LabelledCrop], forge: Forge) -> list[LabelledCrop]:
    """Forge a fake from the group's real crop; it replaces the group's fake, or is added if there is none.

    The real crop is replaced by the forgery's real counterpart.
    """
    real = next((index for index, crop in enumerate(crops) if crop.label == REAL), None)
    if real is None:
        return crops
    forged = forge(crops[real].picture)
    fake = LabelledCrop(forged.fake, float(FAKE), forged.changed.astype(np.float32))
    crops = [*crops[:real], replace(crops[real], picture=forged.real), *crops[real + 1 :]]
    replaced = next((index for index, crop in enumerate(crops) if crop.label == FAKE), None)
    return [*crops, fake] if replaced is None else [*crops[:replaced], fake, *crops[replaced + 1 :]]


class TrainingDataset(Dataset[Batch]):
    """(epoch, index) -> the group's pictures (g, size, size, 3) uint8, labels (g,) and masks (g, h, w).

    A mask has the manipulated share of each patch of the network's feature map, NaN where that is unknown.
    """

    def __init__(
        self,
        groups: SampleGroups,
        contract: InputContract,
        patch_grid: tuple[int, int],
        augmentation: Augmentation,
        seed: int,
    ) -> None:
        self.groups = groups
        self.contract = contract
        self.patch_grid = patch_grid
        self.augmentation = augmentation
        self.seed = seed

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, key: tuple[int, int]) -> Batch:
        epoch, index = key
        crops = [self._read(sample) for sample in self.groups[index]]
        draw_key = self.seed, epoch, index
        if forge := self.augmentation.draw_forgery(draw_key):
            crops = apply_forgery(crops, forge)
        # The whole group is transformed alike.
        transform = self.augmentation.draw_geometric(draw_key)
        stacked = np.stack([self.contract.fit(transform(crop.picture)) for crop in crops])
        pictures = self.augmentation.apply_photometric(torch.from_numpy(stacked).permute(0, 3, 1, 2), draw_key)
        masks = np.stack([resize(transform(crop.mask), *self.patch_grid) for crop in crops])
        labels = torch.tensor([crop.label for crop in crops])
        return pictures.permute(0, 2, 3, 1).contiguous(), labels, torch.from_numpy(masks)

    def mean_group_size(self) -> float:
        """Expected number of pictures per group, including fakes forged from real crops without one."""
        return float(
            self.groups.sizes.mean() + forgery_probability(self.augmentation) * (self.groups.fake_counts() == 0).mean()
        )

    def group_sizes(self) -> NDArray[np.float64]:
        """Expected number of pictures of each group."""
        return self.groups.sizes + forgery_probability(self.augmentation) * (self.groups.fake_counts() == 0)

    def _read(self, sample: Sample) -> LabelledCrop:
        picture, crop = read_crop(sample.crop.path), sample.crop
        if sample.video.label == REAL or crop.mask is None:
            unknown = np.float32(0 if sample.video.label == REAL else np.nan)
            return LabelledCrop(picture, float(sample.video.label), np.full(picture.shape[:2], unknown))
        return LabelledCrop(picture, float(FAKE), read_mask(crop.mask).astype(np.float32))


class PictureDataset(Dataset[torch.Tensor]):
    """index -> the sample's picture (size, size, 3) uint8, transformed by `transform(picture, index)` if there is one."""

    def __init__(self, samples: Sequence[Sample], contract: InputContract, transform: PictureTransform | None = None) -> None:
        self.samples = samples
        self.contract = contract
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> torch.Tensor:
        picture = read_crop(self.samples[index].crop.path)
        return torch.from_numpy(self.contract.fit(self.transform(picture, index) if self.transform else picture))


def forgery_probability(augmentation: Augmentation) -> float:
    """The probability that a fake is forged from a group's real crop."""
    return 1 - math.prod(1 - forgery.p for forgery in augmentation.forgeries.values())


def training_batches(
    dataset: TrainingDataset,
    batch_size: int,
    workers: int,
    seed: int,
    epoch: int,
    first: int = 0,
    process_group: ProcessGroup = SINGLE_PROCESS,
) -> "DataLoader[Batch]":
    """Batches of about `batch_size` pictures, or this process's share of them."""
    per_batch = max(1, round(batch_size / dataset.mean_group_size()))
    batches = EpochBatches(len(dataset), per_batch, seed, epoch, first, process_group)
    return SigtermDataLoader(dataset, batch_sampler=batches, num_workers=workers, collate_fn=collate)


def count_pictures(batches: "DataLoader[Batch]") -> int:
    """The expected number of pictures in training batches; it is random because forgeries are."""
    dataset, sampler = cast(TrainingDataset, batches.dataset), cast(EpochBatches, batches.batch_sampler)
    sizes = dataset.group_sizes()
    return round(sum(float(sizes[indices].sum()) for indices in sampler.batches))


def picture_batches(
    samples: Sequence[Sample], contract: InputContract, batch_size: int, workers: int, transform: PictureTransform | None = None
) -> "DataLoader[torch.Tensor]":
    """Batches of pictures, in the order of the samples."""
    return SigtermDataLoader(PictureDataset(samples, contract, transform), batch_size=batch_size, num_workers=workers)


class SigtermDataLoader(DataLoader[Loaded]):
    """A data loader whose workers ignore a cluster's SIGTERM until the training process, their parent, finishes its step."""

    def __init__(self, dataset: Dataset[Loaded], **settings: Any) -> None:
        super().__init__(dataset, worker_init_fn=_start_parent_watch, **settings)

    def __iter__(self) -> _BaseDataLoaderIter:
        if not HAS_SIGTIMEDWAIT:
            return super().__iter__()
        previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})  # workers inherit the mask
        try:
            return super().__iter__()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def _start_parent_watch(_worker: int) -> None:
    parent = multiprocessing.parent_process()
    if HAS_SIGTIMEDWAIT and parent:
        threading.Thread(target=_exit_with_parent, args=[parent.pid], daemon=True).start()


def _exit_with_parent(parent: int) -> None:
    """Exit when the parent sends SIGTERM or is gone: torch does not notice a parent that is killed while the worker starts."""
    while os.getppid() == parent:
        received = signal.sigtimedwait({signal.SIGTERM}, 1)
        if received and received.si_pid == parent:
            break
    os._exit(0)


def collate(groups: list[Batch]) -> Batch:
    pictures, labels, masks = (torch.cat(tensors) for tensors in zip(*groups, strict=True))
    return pictures, labels, masks
