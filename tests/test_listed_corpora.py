"""Corpora that lists describe, and folders of frames, are indexed as the lists and folders say."""

import csv
import io
import json
from pathlib import Path

import pytest
from layout_trees import add_csv, add_json, add_picture, add_text, add_video

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import Video
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.preprocessing.corpus.corpus import Corpus, read_corpus
from explain_deepfakes.preprocessing.corpus.params import CorpusParams
from explain_deepfakes.preprocessing.corpus.report import report_lines

TRAIN, VAL, TEST = "training_set", "validation_set", "test_set"


def corpus_of(data: Path, **settings: object) -> Corpus:
    return read_corpus(
        load_params("index_videos", CorpusParams, {"data_path": data, "dataset": "AUTO", "workers": 1, **settings})
    )


def indexed(data: Path, **settings: object) -> dict[str, Video]:
    return {video.video: video for video in corpus_of(data, **settings).videos}


def add_frames(folder: Path, shade: int, count: int = 3) -> None:
    for number in range(count):
        add_picture(folder / f"{number:03}.png", shade + number)


def test_dfdcp_has_the_split_people_and_methods_of_its_list(data: Path) -> None:
    entries = {
        "original_videos/1/1_C_001.mp4": {"label": "real", "set": "train", "target_id": "1"},
        "original_videos/2/2_C_001.mp4": {"label": "real", "set": "test", "target_id": "2"},
        "method_A/1/1_3/1_3_A_001.mp4": {"label": "fake", "set": "train", "target_id": "1", "swapped_id": "3"},
        "method_B/2/2_4/2_4_B_001.mp4": {"label": "fake", "set": "test"},
    }
    for name in entries:
        add_video(data / name)
    add_video(data / "method_A/1/1_3/unlisted.mp4")
    add_json(data / "dataset.json", {**entries, "original_videos/9/9_C_001.mp4": {"label": "real", "set": "train"}})
    corpus = corpus_of(data)
    videos = {video.video: video for video in corpus.videos}
    assert {name: (video.label, video.identities) for name, video in videos.items()} == {
        "Original/1_C_001": (0, ("1",)),
        "Original/2_C_001": (0, ("2",)),
        "method_A/1_3_A_001": (1, ("1", "3")),
        "method_B/2_4_B_001": (1, ("2", "4")),
    }
    assert {video.split for video in videos.values() if "2" in video.identities} == {TEST}
    assert videos["Original/1_C_001"].split == videos["method_A/1_3_A_001"].split != TEST
    assert [item.stem for item, _ in corpus.missing] == ["9_C_001"]
    assert [note for note in corpus.tree.notes if "1 videos are left out, as no list has a label" in note]


def test_fakeavceleb_labels_the_pictures_and_not_the_sound(data: Path) -> None:
    files = [
        "RealVideo-RealAudio/African/men/id00076/00109.mp4",
        "RealVideo-FakeAudio/African/men/id00076/00109_fake.mp4",
        "FakeVideo-RealAudio/African/men/id00076/00109_1_id00166_wavtolip.mp4",
        "FakeVideo-FakeAudio/African/men/id00076/00109_id00166.mp4",
    ]
    for name in files:
        add_video(data / name)
    header = ("source", "target1", "target2", "method", "category", "type", "race", "gender", "path", "")
    rows = [
        (
            "id00076",
            "-",
            "-",
            "real",
            "A",
            "RealVideo-RealAudio",
            "African",
            "men",
            "00109.mp4",
            "FakeAVCeleb/" + files[0][:-10],
        ),
        ("id00076", "id00166", "-", "faceswap", "C", "", "African", "men", "00109_1_id00166_wavtolip.mp4", "x/id00076"),
        ("id00076", "id00166", "-", "faceswap", "C", "", "African", "men", "00109_1_id00166_wavtolip.mp4", "x/id00076"),
    ]
    add_csv(data / "meta_data.csv", [header, *rows])
    corpus = corpus_of(data)
    assert sorted((video.method, video.label, video.identities) for video in corpus.videos) == [
        ("FakeVideo-FakeAudio", 1, ("id00076",)),
        ("Original", 0, ("id00076",)),
        ("Original", 0, ("id00076",)),
        ("faceswap", 1, ("id00076", "id00166")),
    ]
    assert any("1 videos with manipulated sound only count as real" in note for note in corpus.tree.notes)


def test_lavdf_has_segments_and_originals(data: Path) -> None:
    entries = [
        {
            "file": "train/1.mp4",
            "split": "train",
            "modify_video": False,
            "modify_audio": False,
            "fake_periods": [],
            "original": None,
        },
        {"file": "train/2.mp4", "split": "train", "modify_video": True, "modify_audio": False, "fake_periods": [[1.25, 3]]}
        | {"original": "train/1.mp4"},
        {"file": "test/3.mp4", "split": "test", "modify_video": False, "modify_audio": True, "fake_periods": [[0, 1]]}
        | {"original": "test/4.mp4"},
        {"file": "dev/5.mp4", "split": "dev", "modify_video": True, "modify_audio": True, "fake_periods": [[0, 1], [2, 2.5]]},
    ]
    for entry in entries:
        add_video(data / str(entry["file"]))
    add_json(data / "metadata.json", entries)
    videos = indexed(data)
    assert videos["visual_modified/2"].made_from == ("Original/1",)
    assert videos["visual_modified/2"].identities == videos["Original/1"].identities
    assert videos["visual_modified/2"].segments == ((1.25, 3.0),)
    assert (videos["Original/3"].label, videos["Original/3"].segments) == (0, ())  # only its sound is manipulated
    assert (videos["both_modified/5"].split, len(videos["both_modified/5"].segments)) == (VAL, 2)


def test_avdeepfake1m_takes_the_manipulated_pictures(data: Path) -> None:
    files = {
        "id1/a/1/real.mp4": ("real", [], []),
        "id1/a/1/fake_video_real_audio.mp4": ("visual_modified", [[1, 2]], [[1, 2]]),
        "id1/a/1/fake_video_fake_audio.mp4": ("both_modified", [[3, 4]], [[3, 4], [5, 6]]),
        "id2/b/1/real_video_fake_audio.mp4": ("audio_modified", [], [[5, 6]]),
    }
    for split in ("train", "val"):
        for name in files:
            add_video(data / split / name.replace("id", f"{split}-id"))
        entries = [
            {
                "file": name.replace("id", f"{split}-id"),
                "modify_type": kind,
                "visual_fake_segments": visual,
                "fake_segments": both,
                "original": None if kind == "real" else f"{split}-id1/a/1/real.mp4",
            }
            for name, (kind, visual, both) in files.items()
        ]
        add_json(data / f"{split}_metadata.json", entries)
    videos = indexed(data)
    assert len(videos) == 8
    fake = next(video for video in videos.values() if video.method == "both_modified" and video.split == VAL)
    assert (fake.segments, fake.identities, len(fake.made_from)) == (((3.0, 4.0),), ("val-id1",), 1)
    assert videos[fake.made_from[0]].split == VAL
    assert sum(video.label for video in videos.values()) == 4


def test_ffiw_pairs_source_and_target(data: Path) -> None:
    for split in ("train", "val", "test"):
        for kind in ("source", "target", "target_mask"):
            add_video(data / f"FFIW10K-v1-release/{kind}/{split}/vid_{split}_1.mp4")
    videos = indexed(data)
    fake = videos["FFIW/vid_val_1"]
    assert (fake.split, fake.made_from, bool(fake.mask)) == (VAL, ("Original/vid_val_1",), True)
    assert sorted(video.split for video in videos.values() if not video.label) == sorted((TRAIN, VAL, TEST))


@pytest.mark.parametrize("separator", [" ", "_"])
def test_wilddeepfake_has_a_video_per_sequence(data: Path, separator: str) -> None:
    for number, (word, split) in enumerate([("real", "train"), ("fake", "train"), ("real", "test"), ("fake", "test")]):
        for video in range(2):
            add_frames(data / f"{word}{separator}{split}/{video}/{word}/{video}1", 20 * number + 10 * video)
    videos = indexed(data)
    assert len(videos) == 8
    assert {video.kind for video in videos.values()} == {"crops"}
    assert videos["WildDeepfake/test_1_11"].split == TEST
    assert videos["Original/train_0_01"].split in (TRAIN, VAL)


def test_forgerynet_reads_its_lists(data: Path) -> None:
    for part in ("Training", "Validation"):
        for number in range(3):
            add_video(data / f"{part}/video/{number}/{part}{number}.mp4")
        lines = [f"{number}/{part}{number}.mp4 {int(number > 0)} {number} {3 * number}" for number in range(3)]
        add_text(data / f"{part}/video_list.txt", "\n".join(lines))
    videos = indexed(data)
    assert sorted(videos) == [
        "DeepFakes-StarGAN-Stack/Training2",
        "DeepFakes-StarGAN-Stack/Validation2",
        "DeepFakes/Training1",
        "DeepFakes/Validation1",
        "Original/Training0",
        "Original/Validation0",
    ]
    assert {video.split for name, video in videos.items() if "Validation" in name} == {TEST}
    add_text(data / "Training/video_list.txt", "0/Training0.mp4 0 0 0\n1/Training1.mp4 1\n")
    with pytest.raises(UserError, match="line 2: '1/Training1.mp4 1' does not have the form"):
        corpus_of(data)


def test_forgerynet_reads_the_lists_of_its_videos_and_says_what_it_leaves_out(data: Path) -> None:
    for name in ("1/abc.mp4", "9/def.mp4"):
        add_video(data / f"Training/videos/train_video_release/{name}")
    lines = ("2 train_video_release/1/abc.mp4 0 5 0 5 8 1 1 2 5", "0 train_video_release/9/def.mp4 0 0 0")
    add_text(data / "Training/video_list.txt", "\n".join(lines) + "\n")
    add_picture(data / "Training/image/train_release/1/a.jpg", 9)
    add_text(data / "Training/image_list.txt", "train_release/1/a.jpg 1 1 3\n")
    corpus = corpus_of(data)
    assert {video.video: video.label for video in corpus.videos} == {"MMReplacement/abc": 1, "Original/def": 0}
    assert not corpus.missing
    notes = " ".join(corpus.tree.notes)
    assert "Training/image are not read, only the videos" in notes
    assert "all frames of a fake count as manipulated" in notes


def add_deepspeak(data: Path) -> None:
    """Two people for training and two for tests, in folders as the archives unpack. The lists have a column without a name."""
    reals = [(f"{person}-{4100 + person}", person) for person in (0, 1, 10, 11)]
    fakes = [
        ("facefusion--0-1--4100-4101--0", "facefusion", 0, 1, 4100, 4101),
        ("wav2lip--10-10--4110-4110--0", "wav2lip", 10, 10, 4110, 4110),
        ("facefusion--10-11--4110-4111--0", "facefusion", 10, 11, 4110, 4111),
    ]
    add_csv(data / "annotations-real.csv", [("", "video-file", "identity"), *((0, f"{name}.mp4", i) for name, i in reals)])
    header = ("", "video-file", "engine", "identity-source", "identity-target", "recording-source", "recording-target")
    add_csv(data / "annotations-fake.csv", [header, *((0, f"{name}.mp4", *cells) for name, *cells in fakes)])
    splits = [(0, "train"), (1, "train"), (10, "test"), (11, "test")]
    add_csv(data / "annotations-split-def.csv", [("", "identity", "split"), *((0, *row) for row in splits)])
    for number, name in enumerate([*(name for name, _ in reals), *(name for name, *_ in fakes)]):
        add_video(data / f"deepspeak-{number % 2}/{name}.mp4")


def test_deepspeak_has_the_people_originals_and_test_set_of_its_lists(data: Path) -> None:
    add_deepspeak(data)
    videos = indexed(data)
    swap = videos["facefusion/facefusion--10-11--4110-4111--0"]
    assert (swap.label, swap.split, swap.identities, swap.made_from) == (1, TEST, ("11", "10"), ("Original/11-4111",))
    assert videos["wav2lip/wav2lip--10-10--4110-4110--0"].identities == ("10",)
    assert {name for name, video in videos.items() if video.split == TEST and not video.label} == {
        "Original/10-4110",
        "Original/11-4111",
    }
    of_training = [videos[name] for name in ("facefusion/facefusion--0-1--4100-4101--0", "Original/0-4100", "Original/1-4101")]
    assert len({video.split for video in of_training} | {TEST}) == 2
    (data / "annotations-split-def.csv").unlink()
    assert any("so the splits are assigned by hash" in note for note in corpus_of(data).tree.notes)
    (data / "annotations-real.csv").unlink()
    with pytest.raises(UserError, match="there is no annotations-real.csv in .*; download it"):
        corpus_of(data)


def test_kodf_has_the_people_and_methods_of_its_names(data: Path) -> None:
    hexadecimal = "0123456789abcdef0123"
    for name in (
        f"original_videos/{hexadecimal}/{hexadecimal}_001",
        "original_videos/100001/100001_001",
        f"synthesized_videos/dfl/20200715/100001/100001_{hexadecimal}_1_0090",
        "synthesized_videos/audio-driven/20200716/100001/100001_100001_5_0003",
        "synthesized_videos/fo/20200716/100001/strange",
    ):
        add_video(data / f"kodf_release/{name}.mp4")
    corpus = corpus_of(data)
    videos = {video.video: video for video in corpus.videos}
    assert {name: (video.label, video.identities) for name, video in videos.items()} == {
        f"Original/{hexadecimal}_001": (0, (hexadecimal,)),
        "Original/100001_001": (0, ("100001",)),
        f"dfl/100001_{hexadecimal}_1_0090": (1, ("100001", hexadecimal)),
        "audio-driven/100001_100001_5_0003": (1, ("100001",)),
        "fo/strange": (1, ("strange",)),
    }
    assert len({video.split for name, video in videos.items() if name != "fo/strange"}) == 1
    assert [problem.path.stem for problem in corpus.tree.problems] == ["strange"]
    assert "the originals of the fakes are unknown, so the fakes are not compared with them" in corpus.tree.notes


def test_dfdcp_without_its_list_is_refused(data: Path) -> None:
    add_video(data / "original_videos/1/1_C_001.mp4")
    add_video(data / "method_A/1/1_3/1_3_A_001.mp4")
    with pytest.raises(UserError, match=r"there is no dataset\.json in .*; download it into that folder"):
        corpus_of(data)


def test_deepfake_eval_skips_what_is_not_known(data: Path) -> None:
    rows = [("Filename", "Video Ground Truth"), ("a.mp4", "Real"), ("b.mp4", "Fake"), ("c.mp4", "Unknown")]
    add_csv(data / "video-metadata-publish-with-links.csv", rows)
    for name in "abcd":
        add_video(data / f"video-data/{name}.mp4")
    corpus = corpus_of(data)
    assert [(video.video, video.label, video.split) for video in corpus.videos] == [
        ("Original/a", 0, TEST),
        ("fake/b", 1, TEST),
    ]
    assert "1 videos whose truth is neither Real nor Fake are left out" in corpus.tree.notes
    left_out = f"{data}/video-data/c.mp4, {data}/video-data/d.mp4"
    assert f"2 videos are left out, as no list has a label for them: {left_out}" in corpus.tree.notes


def test_df40_has_both_halves(data: Path) -> None:
    add_frames(data / "DF40/simswap/ff/frames/000_003", 0)
    add_frames(data / "DF40/simswap/cdf/frames/id0_id1_0000", 10)
    add_frames(data / "DF40/heygen/fake/frames/a", 20)
    add_frames(data / "DF40/heygen/real/frames/a", 30)
    add_frames(data / "DF40_train/simswap/frames/010_011", 40)
    videos = indexed(data)
    assert {name: (video.label, video.split == TEST) for name, video in videos.items()} == {
        "simswap/ff_000_003": (1, True),
        "simswap/cdf_id0_id1_0000": (1, True),
        "heygen/a": (1, True),
        "Original/heygen_a": (0, True),
        "simswap/train_010_011": (1, False),
    }
    assert videos["simswap/ff_000_003"].identities == ("000", "003")
    assert videos["simswap/cdf_id0_id1_0000"].identities == ("id0", "id1")


def add_df40(data: Path) -> None:
    """Two methods with both domains, and the real videos of FaceForensics++ and Celeb-DF beside them."""
    for number, method in enumerate(("simswap", "sd2.1")):
        frames = () if number else ("frames",)
        add_frames(data.joinpath("DF40", method, "ff", *frames, "020_021"), 10 + number)
        add_frames(data.joinpath("DF40", method, "cdf", *frames, "id0_id1_0000"), 20 + number)
        for person in range(10):
            add_frames(
                data.joinpath("DF40_train", method, *frames, f"{person + 30:03}_{person + 40:03}"), 30 + 20 * number + person
            )
    for person in (20, 21, *range(30, 50)):
        add_frames(data / f"FaceForensics++/original_sequences/youtube/c23/frames/{person:03}", 80 + person)
    for split, pairs in {"train": [["030", "040"]], "val": [["031", "041"]], "test": [["020", "021"]]}.items():
        add_json(data / f"FaceForensics++/{split}.json", pairs)
    for number, name in enumerate(("Celeb-real/frames/id0_0000", "Celeb-real/frames/id0_0001", "YouTube-real/frames/00170")):
        add_frames(data / f"Celeb-DF-v2/{name}", 150 + number)
    add_text(data / "Celeb-DF-v2/List_of_testing_videos.txt", "1 Celeb-real/id0_0000.mp4\n1 YouTube-real/00170.mp4\n")
    for number, name in enumerate(("stargan/fake/fake/1", "stargan/fake/fake/2", "stargan/real/real/1", "Midjourney/real/1")):
        add_picture(data / f"DF40/{name}.png", 200 + number)


def test_the_domains_of_df40_have_their_real_videos_and_splits(data: Path) -> None:
    add_df40(data)
    of_ff = indexed(data, domain="ff")
    assert {name for name, video in of_ff.items() if video.split == TEST} == {
        "simswap/ff_020_021",
        "sd2.1/ff_020_021",
        "Original/020",
        "Original/021",
    }
    others = {video.split for video in of_ff.values()} - {TEST}
    assert others == {TRAIN, VAL}
    for split in others:  # the lists of FaceForensics++ would leave the validation set without fakes
        assert {video.label for video in of_ff.values() if video.split == split} == {0, 1}
    assert of_ff["simswap/train_030_040"].split == of_ff["Original/030"].split == of_ff["sd2.1/train_030_040"].split
    corpus = corpus_of(data, domain="cdf")
    assert {video.video: video.split for video in corpus.videos} == dict.fromkeys(
        ("simswap/cdf_id0_id1_0000", "sd2.1/cdf_id0_id1_0000", "Original/id0_0000", "Original/00170"), TEST
    )
    assert "1 real videos of Celeb-DF-v2 that are not in its test list are left out" in corpus.tree.notes
    assert {name: (video.label, video.kind) for name, video in indexed(data, domain="own").items()} == {
        "stargan/1": (1, "crops"),  # each picture in no folder of a clip is a video
        "stargan/2": (1, "crops"),
        "Original/stargan_1": (0, "crops"),
        "Original/Midjourney_1": (0, "crops"),
    }
    everything = corpus_of(data)
    assert len(everything.videos) == len(of_ff) + len(corpus.videos) + 4
    assert not everything.leaks
    with pytest.raises(UserError, match="has the layout FACEFORENSICS, which has no domains"):
        corpus_of(data / "FaceForensics++", domain="ff")


def test_faceforensics_may_hold_crops_instead_of_videos(data: Path) -> None:
    add_frames(data / "original_sequences/youtube/c23/frames/000", 0)
    add_frames(data / "manipulated_sequences/Deepfakes/c23/frames/000_003", 10)
    add_frames(data / "manipulated_sequences/Deepfakes/c23/masks/000_003", 100)
    add_text(data / "manipulated_sequences/Deepfakes/c23/landmarks/000_003/000.npy")
    for name, pairs in {"train": [["000", "003"]], "val": [], "test": []}.items():
        add_json(data / f"{name}.json", pairs)  # in the root
    corpus = corpus_of(data)
    fake, real = corpus.videos
    assert (fake.kind, fake.made_from, fake.split) == ("crops", ("Original/000", "Original/003"), TRAIN)
    assert fake.mask.endswith("c23/masks/000_003")
    assert (real.kind, real.split) == ("crops", TRAIN)


def test_celebdf_may_hold_crops_instead_of_videos(data: Path) -> None:
    for number, name in enumerate(("Celeb-real/frames/id0_0000", "Celeb-real/frames/id1_0000", "YouTube-real/frames/00170")):
        add_frames(data / name, 10 * number)
    add_frames(data / "Celeb-synthesis/frames/id0_id1_0000", 40)
    add_text(data / "List_of_testing_videos.txt", "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id0_id1_0000.mp4\n")
    corpus = corpus_of(data, allow_leaks=True)
    videos = {video.video: video for video in corpus.videos}
    assert {video.kind for video in videos.values()} == {"crops"}
    fake = videos["Celeb-synthesis/id0_id1_0000"]
    assert (fake.split, fake.made_from, fake.identities) == (TEST, ("Original/id0_0000",), ("id0", "id1"))
    assert videos["Original/00170"].split == TEST
    assert not corpus.missing


def test_the_list_of_deepfakebench_and_its_leaks(data: Path) -> None:
    frames = {}
    for number, name in enumerate(("01__room", "02__room")):
        add_frames(data / f"DeepFakeDetection/original_sequences/actors/c23/frames/{name}", 10 * number)
        frames[name] = [f"/home/other/datasets/DeepFakeDetection/original_sequences/actors/c23/frames/{name}/000.png"]
    add_frames(data / "DeepFakeDetection/manipulated_sequences/c23/frames/01_02__room__AB", 30)
    fake = [r"DeepFakeDetection\manipulated_sequences\c23\frames\01_02__room__AB\000.png"]
    real_entries = {name: {"label": "DFD_real", "frames": paths} for name, paths in frames.items()}
    fake_entries = {"01_02__room__AB": {"label": "DFD_fake", "frames": fake}}
    splits = ("train", "val", "test")
    content = {
        "DeepFakeDetection": {
            "DFD_real": {split: {"c23": real_entries} for split in splits},
            "DFD_fake": {split: {"c23": fake_entries} for split in splits},
        }
    }
    add_json(data / "DeepFakeDetection.json", content)
    corpus = corpus_of(data, manifest=data / "DeepFakeDetection.json", allow_leaks=True)
    assert len(corpus.videos) == 9
    assert {video.kind for video in corpus.videos} == {"crops"}
    leaks = [leak.text(1) for leak in corpus.leaks]
    assert any("the file DFD_fake/test_01_02__room__AB is in" in leak and TRAIN in leak and VAL in leak for leak in leaks), (
        leaks
    )
    with pytest.raises(UserError, match="the splits leak"):
        corpus_of(data, manifest=data / "DeepFakeDetection.json").check_leaks()


def test_folders_of_numbered_pictures_are_videos(data: Path) -> None:
    add_frames(data / "real/anna/clip1", 0)
    add_frames(data / "real/anna/clip2", 10)
    add_frames(data / "fake/bert/clip1", 20)
    add_frames(data / "fake/dora/clip1", 30)
    for name in ("portrait", "holiday"):
        add_picture(data / f"real/carl/{name}.png", 50 + len(name))
    videos = indexed(data)
    assert {name: (video.kind, video.identities) for name, video in videos.items()} == {
        "Original/anna_clip1": ("frames", ("anna",)),
        "Original/anna_clip2": ("frames", ("anna",)),
        "fake/bert_clip1": ("frames", ("bert",)),
        "fake/dora_clip1": ("frames", ("dora",)),
        "Original/carl_holiday": ("file", ("carl",)),
        "Original/carl_portrait": ("file", ("carl",)),
    }
    assert {video.kind for video in indexed(data, pictures="crops").values()} == {"crops"}
    assert len(indexed(data, pictures="single")) == 14


MANIFEST = (
    ("Filename", "Video Ground Truth", "Set", "Speaker", "Tool", "Made of", "Parts"),
    ("clips/a.mp4", "Genuine", "A", "anna", "", "", ""),
    ("clips\\b.mp4", "Forged", "A", "anna; bert", "LipTool", "clips/a.mp4", "[[1, 2.5]]"),
    ("c.mp4", "Unclear", "B", "carl", "", "", ""),
    ("d", "Genuine", "B", "dora", "", "", ""),
)
COLUMNS = "video=Filename,label=Video Ground Truth,split=Set,identity=Speaker,method=Tool,original=Made of,segments=Parts"
VALUES = "Genuine=real,Forged=fake,Unclear=skip,A=train,B=test"


def add_manifest_videos(data: Path) -> None:
    for name in ("clips/a", "clips/b", "deep/inside/c", "deep/inside/d"):
        add_video(data / f"{name}.mp4")


@pytest.mark.parametrize("kind", ["csv", "tsv", "json", "jsonl", "object"])
def test_a_manifest_of_any_format_is_indexed_by_its_columns(data: Path, kind: str) -> None:
    add_manifest_videos(data)
    rows = [dict(zip(MANIFEST[0], row, strict=True)) for row in MANIFEST[1:]]
    columns = COLUMNS
    if kind in ("csv", "tsv"):
        text = io.StringIO()
        csv.writer(text, delimiter="\t" if kind == "tsv" else ",").writerows(MANIFEST)
        path = add_text(data / f"labels.{kind}", text.getvalue())
    elif kind == "jsonl":
        path = add_text(data / "labels.jsonl", "\n".join(map(json.dumps, rows)))
    elif kind == "json":
        path = add_json(data / "labels.json", rows)
    else:
        path = add_json(data / "labels.json", {row.pop("Filename"): row for row in rows})
        columns = columns.replace("Filename", "key")
    corpus = corpus_of(data, manifest=path, columns=columns, values=VALUES)
    fake, *reals = corpus.videos
    assert (fake.video, fake.identities, fake.made_from) == ("LipTool/b", ("anna", "bert"), ("Original/a",))
    assert (fake.split, fake.segments) == (TRAIN, ((1.0, 2.5),))
    assert [(video.video, video.split) for video in reals] == [("Original/a", TRAIN), ("Original/d", TEST)]
    assert "1 of the 4 rows are left out, as their value is mapped to 'skip'" in "\n".join(corpus.tree.notes)
    assert "MANIFEST in" in next(report_lines(corpus))


@pytest.mark.parametrize(
    ("columns", "values", "message"),
    [
        ("", "", 'for example --columns "video=Filename,label=Video Ground Truth,split=Set,identity=Speaker"'),
        ("video=Filename,label=Truth", "", "has no column 'Truth'; it has: Filename, Video Ground Truth"),
        ("video=Filename,lable=Set", "", "'lable', which is not a field; there are: video, label, split"),
        ("Filename", "", "'Filename', which does not have the form video=Filename"),
        ("video=Filename,label=Video Ground Truth", "", "is 'Genuine', which is neither real nor fake"),
        (COLUMNS, "Genuine=real,Forged=fake,Unclear=skip", "the split of 'clips/a.mp4' is 'A'"),
        (COLUMNS.replace("segments=Parts", "segments=Tool"), VALUES, "the segments of .* are 'LipTool'"),
    ],
)
def test_a_manifest_that_is_not_understood_says_what_to_do(data: Path, columns: str, values: str, message: str) -> None:
    add_manifest_videos(data)
    path = add_csv(data / "labels.csv", MANIFEST)
    with pytest.raises(UserError, match=message):
        corpus_of(data, manifest=path, columns=columns or None, values=values or None)


def test_a_manifest_of_other_files_is_refused(data: Path) -> None:
    path = add_csv(data / "labels.csv", MANIFEST)
    with pytest.raises(UserError, match="none of the 3 videos in .* exists, such as clips/a.mp4"):
        corpus_of(data, manifest=path, columns=COLUMNS, values=VALUES)
    with pytest.raises(UserError, match="does not exist"):
        corpus_of(data, manifest=data / "none.csv", columns=COLUMNS)
    with pytest.raises(UserError, match="names videos more than once: a.mp4"):
        add_video(data / "a.mp4")
        twice = add_csv(data / "twice.csv", [("file", "label"), ("a.mp4", "real"), ("a.mp4", "real")])
        corpus_of(data, manifest=twice, columns="video=file,label=label")


def test_lists_with_broken_entries_are_refused_in_words(data: Path) -> None:
    add_json(data / "dfdcp/dataset.json", {"a.mp4": {"label": "real", "set": "train"}})
    add_video(data / "dfdcp/original_videos/1/1_C_001.mp4")
    with pytest.raises(UserError, match="'a.mp4' is not a path such as original_videos"):
        corpus_of(data / "dfdcp")
    add_json(data / "lavdf/metadata.json", [{"file": "test/1.mp4", "modify_video": True, "fake_periods": [1, 2]}])
    add_video(data / "lavdf/test/1.mp4")
    with pytest.raises(UserError, match="the segments of 'test/1.mp4' are"):
        corpus_of(data / "lavdf")
    add_picture(data / "wild/real_train/real/0.png", 1)
    add_picture(data / "wild/fake_train/7/0.png", 2)
    assert {video.identities for video in indexed(data / "wild").values()} == {("real-train",), ("fake-train-7",)}
    add_json(data / "list.json", {"Celeb-DF": {"Celeb-real": {"train": {"id0": {"label": "real", "frames": "a/0.png"}}}}})
    with pytest.raises(UserError, match="the video 'id0' of Celeb-real has no list 'frames'"):
        indexed(data, manifest=data / "list.json")
