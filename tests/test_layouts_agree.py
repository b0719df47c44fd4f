"""The same videos in every layout give the same index, apart from names, and the same crops."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
from layout_trees import add_csv, add_json, add_text, face_pairs
from little_videos import project, reading, run_script

from explain_deepfakes.pipeline.index import Video, write_index
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.pipeline.project import from_root
from explain_deepfakes.preprocessing.corpus import file_facts
from explain_deepfakes.preprocessing.corpus.corpus import read_corpus
from explain_deepfakes.preprocessing.corpus.params import CorpusParams
from explain_deepfakes.preprocessing.crops.crops import read_crops
from explain_deepfakes.preprocessing.faces.boxes import Boxes, write_boxes
from explain_deepfakes.preprocessing.faces.face import Face
from explain_deepfakes.preprocessing.faces.tracks import TrackedFace
from explain_deepfakes.preprocessing.video.video import probe_video, read_frames

SPLITS = ("train", "val", "test")
SPLIT_NAMES = {"train": "training_set", "val": "validation_set", "test": "test_set"}
FRAMES = (1, 4)  # with boxes
BOX = (40.0, 20.0, 116.0, 96.0)
Crops = dict[str, list[np.ndarray]]  # by video or source


@dataclass
class Toy:
    """A tree that contains three real videos and a fake of each, a pair for each split."""

    root: Path
    sources: dict[str, Path]  # real-train, fake-train, …: the video files
    paths: dict[str, str] = field(default_factory=dict)  # names of the sources by path in the tree

    def file(self, source: str, path: str) -> None:
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(self.sources[source])
        self.paths[str(target)] = source

    def frames(self, source: str, path: str) -> None:
        """Store the frames of the decoded video, without loss."""
        (self.root / path).mkdir(parents=True)
        for index, picture in decode(self.sources[source]):
            assert cv2.imwrite(str(self.root / path / f"{index:03}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        self.paths[str(self.root / path)] = source


@cache
def decode(video: Path) -> list[tuple[int, np.ndarray]]:
    return list(read_frames(video, None, reading()))


Add = Callable[[str, str], None]  # Toy.file, or Toy.frames


def faceforensics(toy: Toy, add: Add, content: str = "videos", suffix: str = ".mp4", lists: str = "splits/") -> None:
    for number, split in enumerate(SPLITS):
        add(f"real-{split}", f"original_sequences/youtube/c23/{content}/{number:03}{suffix}")
        add(f"fake-{split}", f"manipulated_sequences/Deepfakes/c23/{content}/{number:03}_{number + 10:03}{suffix}")
        add_json(toy.root / f"{lists}{split}.json", [[f"{number:03}", f"{number + 10:03}"]])


def faceforensics_flat(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        toy.file(f"real-{split}", f"original/{number:03}.mp4")
        toy.file(f"fake-{split}", f"Deepfakes/{number:03}_{number + 10:03}.mp4")
        add_json(toy.root / f"splits/{split}.json", [[f"{number:03}", f"{number + 10:03}"]])


def celebdf(toy: Toy, add: Add, method: str = "", content: str = "", suffix: str = ".mp4") -> None:
    for number, split in enumerate(SPLITS):
        add(f"real-{split}", f"Celeb-real{content}/id{number}_0000{suffix}")
        add(f"fake-{split}", f"Celeb-synthesis{method}{content}/id{number}_id{number + 10}_0000{suffix}")
    lines = ("1 Celeb-real/id2_0000.mp4", f"0 Celeb-synthesis{method}/id2_id12_0000.mp4")
    add_text(toy.root / "List_of_testing_videos.txt", "\n".join(lines) + "\n")


def dfdc(toy: Toy) -> None:
    words, labels = {"train": "train", "val": "validation", "test": "test"}, {}
    for split, word in words.items():
        for source, label, original in ((f"real-{split}", "REAL", None), (f"fake-{split}", "FAKE", f"real-{split}.mp4")):
            toy.file(source, f"dfdc_train_part_0/{source}.mp4")
            labels[f"{source}.mp4"] = {"label": label, "split": word, "original": original}
    add_json(toy.root / "dfdc_train_part_0/metadata.json", labels)


def dfdcp(toy: Toy) -> None:
    entries = {}
    for number, split in enumerate(SPLITS):
        part = "test" if split == "test" else "train"
        real, fake = f"original_videos/{number}/{number}_C.mp4", f"method_A/{number}/{number}_{number + 10}/{number}_A.mp4"
        toy.file(f"real-{split}", real)
        toy.file(f"fake-{split}", fake)
        entries[real] = {"label": "real", "set": part, "target_id": number}
        entries[fake] = {"label": "fake", "set": part, "target_id": number, "swapped_id": number + 10}
    add_json(toy.root / "dataset.json", entries)


def deeperforensics(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        toy.file(f"real-{split}", f"original_sequences/youtube/c23/videos/{number:03}.mp4")
        toy.file(f"fake-{split}", f"manipulated_videos/end_to_end/{number:03}_M10{number}.mp4")
        add_text(toy.root / f"lists/splits/{split}.txt", f"{number:03}_M10{number}.mp4\n")


def ffiw(toy: Toy) -> None:
    for split in SPLITS:
        toy.file(f"real-{split}", f"FFIW10K-v1-release/source/{split}/vid_{split}.mp4")
        toy.file(f"fake-{split}", f"FFIW10K-v1-release/target/{split}/vid_{split}.mp4")


def fakeavceleb(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        toy.file(f"real-{split}", f"RealVideo-RealAudio/African/men/id0000{number}/00109.mp4")
        toy.file(f"fake-{split}", f"FakeVideo-RealAudio/African/men/id0000{number}/00109_1_id0001{number}_wavtolip.mp4")


def lavdf(toy: Toy) -> None:
    entries = []
    for split in SPLITS:
        real, fake, word = f"{split}/1{split}.mp4", f"{split}/2{split}.mp4", "dev" if split == "val" else split
        toy.file(f"real-{split}", real)
        toy.file(f"fake-{split}", fake)
        entries.append({"file": real, "split": word, "modify_video": False, "modify_audio": False, "original": None})
        entries.append({"file": fake, "split": word, "modify_video": True, "modify_audio": False, "original": real})
    add_json(toy.root / "metadata.json", entries)


def avdeepfake1m(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        real, fake = (f"id{number}/abc/1/{name}.mp4" for name in ("real", "fake_video_real_audio"))
        toy.file(f"real-{split}", f"{split}/{real}")
        toy.file(f"fake-{split}", f"{split}/{fake}")
        entries = [{"file": real, "modify_type": "real"}, {"file": fake, "modify_type": "visual_modified", "original": real}]
        add_json(toy.root / f"{split}_metadata.json", entries)


def wilddeepfake(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        part = "test" if split == "test" else "train"
        toy.frames(f"real-{split}", f"real_{part}/{number}/real/{number}1")
        toy.frames(f"fake-{split}", f"fake_{part}/{number}/fake/{number}1")


def forgerynet(toy: Toy) -> None:
    for split in SPLITS:
        part = "Validation" if split == "test" else "Training"
        toy.file(f"real-{split}", f"{part}/video/release/1/r{split}.mp4")
        toy.file(f"fake-{split}", f"{part}/video/release/9/f{split}.mp4")
    for part, splits in {"Training": SPLITS[:2], "Validation": SPLITS[2:]}.items():
        lines = [f"1 release/1/r{split}.mp4 0 6 0 0 0 0\n1 release/9/f{split}.mp4 0 6 1 1 1 3\n" for split in splits]
        add_text(toy.root / part / "video_list.txt", "".join(lines))


def deepfake_eval(toy: Toy) -> None:
    rows = [("Filename", "Video Ground Truth", "Finetuning Set")]
    for source in toy.sources:
        toy.file(source, f"video-data/{source}.mp4")
        rows.append((f"{source}.mp4", source.split("-")[0].title(), source.split("-")[1]))
    add_csv(toy.root / "video-metadata-publish.csv", rows)


def deepspeak(toy: Toy) -> None:
    reals, fakes = [("video-file", "identity")], []
    for number, split in enumerate(SPLITS):
        toy.file(f"real-{split}", f"deepspeak-0/{number}-41.mp4")
        toy.file(f"fake-{split}", f"deepspeak-1/facefusion-42-41-{number}.mp4")
        reals.append((f"{number}-41.mp4", str(number)))
        fakes.append((f"facefusion-42-41-{number}.mp4", "facefusion", f"{number + 10}", f"{number}", "41"))
    add_csv(toy.root / "annotations-real.csv", reals)
    header = ("video-file", "engine", "identity-source", "identity-target", "recording-target")
    add_csv(toy.root / "annotations-fake.csv", [header, *fakes])
    add_csv(toy.root / "annotations-split-def.csv", [("identity", "split"), ("0", "train"), ("1", "train"), ("2", "test")])


def kodf(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        toy.file(f"real-{split}", f"original_videos/10000{number}/10000{number}_001.mp4")
        toy.file(f"fake-{split}", f"synthesized_videos/dfl/2020/10000{number}/10000{number}_10001{number}_1_01.mp4")


def df40(toy: Toy) -> None:
    for number, split in enumerate(SPLITS):
        half = "DF40/simswap/ff" if split == "test" else "DF40_train/simswap"
        toy.frames(f"real-{split}", f"FaceForensics++/original_sequences/youtube/c23/frames/{number:03}")
        toy.frames(f"fake-{split}", f"{half}/frames/{number:03}_{number + 10:03}")


def folders(toy: Toy, add: Add, suffix: str = ".mp4", original: bool = True) -> None:
    for split in SPLITS:
        for source in (f"real-{split}", f"fake-{split}"):
            add(source, f"{split}/{source.split('-')[0]}/of-{split}/{source}{suffix}")
        if original:
            entry = {f"fake/of-{split}/fake-{split}{suffix}": {"original": f"real/of-{split}/real-{split}{suffix}"}}
            add_json(toy.root / split / "metadata.json", entry)


def manifest(toy: Toy) -> None:
    rows = [("file", "label", "set", "person", "of")]
    for source in toy.sources:
        label, split = source.split("-")
        toy.file(source, f"clips/{source}.mp4")
        rows.append((f"{source}.mp4", label, split, split, f"real-{split}.mp4" if label == "fake" else ""))
    add_csv(toy.root / "labels.csv", rows)


def deepfakebench(toy: Toy) -> None:
    content: dict[str, dict[str, dict[str, dict[str, object]]]] = {}
    for number, split in enumerate(SPLITS):
        for label, class_name, name in (
            ("real", "FF-real", f"{number:03}"),
            ("fake", "FF-DF", f"{number:03}_{number + 10:03}"),
        ):
            toy.frames(f"{label}-{split}", f"FaceForensics++/{class_name}/c23/frames/{name}")
            frames = [f"/home/other/rgb/FaceForensics++/{class_name}/c23/frames/{name}/{index:03}.png" for index in range(6)]
            content.setdefault(class_name, {}).setdefault(split, {})["c23"] = {name: {"label": class_name, "frames": frames}}
    # A class has all of its splits; in each, the videos of each compression.
    add_json(toy.root / "FaceForensics++.json", {"FaceForensics++": content})


@dataclass(frozen=True)
class Case:
    store: Callable[[Toy], None]
    kind: str = "file"
    splits: str = "official"  # test: only the test set is official; groups: none is, but a fake is where its original is
    states_originals: bool = True
    settings: Mapping[str, str] = field(default_factory=dict)  # of the index, where {root} is the tree


COLUMNS = "video=file,label=label,split=set,identity=person,original=of"
CROPS = ("frames", "")  # name of the folder of crops beside videos, and suffix of a video in it
CASES = {
    "FACEFORENSICS": Case(lambda toy: faceforensics(toy, toy.file)),
    "FACEFORENSICS, flat": Case(faceforensics_flat),
    "FACEFORENSICS, rearranged": Case(lambda toy: faceforensics(toy, toy.frames, *CROPS, lists=""), "crops"),
    "CELEBDF": Case(lambda toy: celebdf(toy, toy.file), splits="test"),
    "CELEBDF, in videos": Case(lambda toy: celebdf(toy, toy.file, content="/videos"), splits="test"),
    "CELEBDF, rearranged": Case(lambda toy: celebdf(toy, toy.frames, content="/frames", suffix=""), "crops", "test"),
    "CELEBDF++": Case(lambda toy: celebdf(toy, toy.file, method="/FaceReenact/DaGAN"), splits="test"),
    "DFDC": Case(dfdc),
    "DFDCP": Case(dfdcp, splits="test", states_originals=False),
    "DEEPERFORENSICS": Case(deeperforensics),
    "FFIW": Case(ffiw),
    "FAKEAVCELEB": Case(fakeavceleb, splits="groups", states_originals=False),
    "LAVDF": Case(lavdf),
    "AVDEEPFAKE1M": Case(avdeepfake1m),
    "WILDDEEPFAKE": Case(wilddeepfake, "crops", "test", states_originals=False),
    "FORGERYNET": Case(forgerynet, splits="test", states_originals=False),
    "DEEPFAKEEVAL": Case(deepfake_eval, states_originals=False),
    "DEEPSPEAK": Case(deepspeak, splits="test"),
    "KODF": Case(kodf, splits="groups", states_originals=False),
    "DF40": Case(df40, "crops", "test", states_originals=False),
    "FOLDER": Case(lambda toy: folders(toy, toy.file)),
    "FOLDER, frames": Case(lambda toy: folders(toy, toy.frames, "", original=False), "frames", states_originals=False),
    "manifest": Case(manifest, settings={"manifest": "{root}/labels.csv", "columns": COLUMNS}),
    "manifest of DeepfakeBench": Case(deepfakebench, "crops", settings={"manifest": "{root}/FaceForensics++.json"}),
}


@dataclass(frozen=True)
class Indexed:
    """The index of a tree, and the crops by source."""

    videos: dict[str, Video]  # by source
    names: dict[str, str]  # the source of each video by its name
    crops: Crops


@pytest.fixture(scope="module")
def corpora(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Indexed]:
    """All trees, indexed one by one, and cropped together."""
    folder = project(tmp_path_factory.mktemp("agree"))
    pairs = dict(zip(SPLITS, face_pairs(folder / "filmed", len(SPLITS)), strict=True))
    sources = {f"{label}-{split}": pair[label == "fake"] for split, pair in pairs.items() for label in ("real", "fake")}
    toys = {name: Toy(folder / f"trees/{number}", sources) for number, name in enumerate(CASES)}
    with pytest.MonkeyPatch.context() as patch:  # files are inspected in this process, which saves starting others
        patch.chdir(folder)
        patch.setattr(file_facts, "map_unordered", lambda work, items, *_, **__: map(work, items))
        indexes = {name: index_tree(name, toy) for name, toy in toys.items()}
    crops = crop_all(folder, (in_common(name, video) for name, videos in indexes.items() for video in videos.values()))
    return {
        name: Indexed(
            videos,
            {video.video: source for source, video in videos.items()},
            {source: crops[in_common(name, video).video] for source, video in videos.items()},
        )
        for name, videos in indexes.items()
    }


def index_tree(name: str, toy: Toy) -> dict[str, Video]:
    """Store and index a tree, and return its videos by source."""
    case = CASES[name]
    case.store(toy)
    settings = {key: value.format(root=toy.root) for key, value in case.settings.items()}
    corpus = read_corpus(load_params("index_videos", CorpusParams, {"data_path": toy.root, "dataset": "AUTO", **settings}))
    corpus.check_leaks()
    videos = {toy.paths[str(from_root(video.path))]: video for video in corpus.videos}
    assert len(videos) == len(toy.sources), name
    return videos


def in_common(name: str, video: Video) -> Video:
    """The video with a name that is unique among the videos of all trees."""
    return replace(video, video=f"{video.method}/{list(CASES).index(name)}_{video.stem}")


def crop_all(folder: Path, videos: Iterable[Video]) -> Crops:
    """Crop the same box from the same frames of all videos, with the command of a user."""
    listed = list(videos)
    write_index(folder / "data/index/videos.csv", listed)
    face = TrackedFace(Face(BOX, 1.0), 0)
    facts = probe_video(folder / listed[0].path, reading())
    for video in listed:
        boxes = Boxes({frame: [face] for frame in FRAMES}, video.video, facts, [*FRAMES], {"detector": "mtcnn"})
        write_boxes(folder / f"data/boxes/{video.video}.json", boxes)
    # Crops of other programs are used without a margin, so the other videos have none here, too.
    result = run_script(folder, "extract_crops", "--margin", "0", "--workers", "1")
    assert result.returncode == 0, result.stderr
    crops: Crops = {}
    for crop in read_crops(folder / "data/crops"):
        crops.setdefault(crop.video, []).append(cv2.imread(str(crop.path)))
    return crops


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    return CASES[request.param]


@pytest.fixture
def indexed(request: pytest.FixtureRequest, case: Case, corpora: dict[str, Indexed]) -> Indexed:
    return corpora[next(name for name, other in CASES.items() if other is case)]


def test_labels_kinds_and_originals_agree(case: Case, indexed: Indexed) -> None:
    for source, video in indexed.videos.items():
        label, split = source.split("-")
        assert (video.label, video.kind) == (int(label == "fake"), case.kind), source
        originals = [indexed.names[name] for name in video.made_from if name in indexed.names]
        assert originals == ([f"real-{split}"] if label == "fake" and case.states_originals else []), source


def test_splits_agree(case: Case, indexed: Indexed) -> None:
    for source, video in indexed.videos.items():
        official = SPLIT_NAMES[source.split("-")[1]]
        if case.splits == "official":
            assert video.split == official, source
        elif case.splits == "test":
            assert (video.split == "test_set") == (official == "test_set"), source
        else:
            assert video.split == indexed.videos[source.replace("fake", "real")].split, source


def test_crops_agree(indexed: Indexed, corpora: dict[str, Indexed]) -> None:
    expected = corpora["FACEFORENSICS"].crops
    assert indexed.crops.keys() == expected.keys()
    for source, pictures in indexed.crops.items():
        assert [picture.shape for picture in pictures] == [(76, 76, 3)] * len(FRAMES), source
        assert all(np.array_equal(*pair) for pair in zip(pictures, expected[source], strict=True)), source


def test_different_videos_have_different_crops(corpora: dict[str, Indexed]) -> None:
    pictures = {picture.tobytes() for pictures in corpora["FACEFORENSICS"].crops.values() for picture in pictures}
    assert len(pictures) == 6 * len(FRAMES)
