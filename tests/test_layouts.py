"""Trees of each layout are indexed correctly; invalid trees, leaks and files that do not fit are reported with the reason."""

import os
import random
import shutil
from pathlib import Path

import pytest
import yaml
from layout_trees import (
    FF_METHODS,
    FF_PAIRS,
    add_csv,
    add_json,
    add_picture,
    add_text,
    add_video,
    celebdf,
    deepfakedetection,
    dfdc,
    dfdc_part,
    faceforensics,
    folder,
    inspect_or_crash,
)
from little_videos import fake, files_of, original, run_script

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.incremental import LEDGER
from explain_deepfakes.pipeline.index import Video, read_index
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.preprocessing.corpus.corpus import CACHE, Corpus, read_corpus
from explain_deepfakes.preprocessing.corpus.file_facts import read_file_facts
from explain_deepfakes.preprocessing.corpus.layouts.class_names import class_label
from explain_deepfakes.preprocessing.corpus.params import CorpusParams
from explain_deepfakes.preprocessing.corpus.report import report_lines
from explain_deepfakes.preprocessing.corpus.splits import Leak, find_leaks

TRAIN, VAL, TEST = "training_set", "validation_set", "test_set"


def corpus_of(data, dataset="AUTO", compression="c23", splits="official", allow_leaks=False, skip_unknown=False) -> Corpus:
    settings = {"compression": compression, "splits": splits, "allow_leaks": allow_leaks, "skip_unknown": skip_unknown}
    return read_corpus(
        load_params("index_videos", CorpusParams, {"data_path": data, "dataset": dataset, "workers": 1, **settings})
    )


def indexed(data, *settings, **options) -> dict[str, Video]:
    corpus = corpus_of(data, *settings, **options)
    corpus.check_leaks()
    return {video.video: video for video in corpus.videos}


def splits_of(videos):
    return {name: video.split for name, video in videos.items()}


def report_text(corpus):
    return "\n".join(report_lines(corpus, in_full=True))


def row_of(text, method, split=""):
    return next(
        line.split() for line in text.splitlines() if line.split()[: 2 if split else 1] == [method, split][: 2 if split else 1]
    )


# FaceForensics++


def test_the_index_says_what_the_tree_says(data):
    videos = indexed(faceforensics(data))
    assert list(videos) == sorted(videos)
    assert len(videos) == 12
    real, fake_video = videos["Original/010"], videos["FaceSwap/000_003"]
    assert (real.label, real.method, real.split, real.identities) == (0, "Original", VAL, ("010",))
    assert (fake_video.label, fake_video.method, fake_video.split, fake_video.dataset) == (
        1,
        "FaceSwap",
        TRAIN,
        "FACEFORENSICS",
    )
    assert fake_video.identities == ("000", "003")
    assert fake_video.mask.endswith("FaceSwap/masks/videos/000_003.mp4")
    assert videos["Deepfakes/000_003"].mask == ""


@pytest.mark.parametrize("name", ["FACEFORENSIC", "DEMO", "faceforensics", "auto"])
def test_other_names_of_the_layout_are_known(data, name):
    faceforensics(data)
    assert indexed(data, name) == indexed(data, "FACEFORENSICS")


@pytest.mark.parametrize("path", ["splits", "dataset/splits", "inner/splits", "inner/dataset/splits"])
def test_the_tree_may_lie_a_folder_deeper_and_the_splits_in_the_places_people_have_them(data, path):
    flat = splits_of(indexed(faceforensics(data)))
    outer = data.parent / "outer"
    outer.mkdir()
    data.rename(outer / "inner")
    (outer / "inner/splits").rename(outer / "lists")
    (outer / path).parent.mkdir(exist_ok=True)
    (outer / "lists").rename(outer / path)
    assert splits_of(indexed(outer)) == flat


def test_actors_are_people_of_their_own_numbering(data):
    videos = indexed(deepfakedetection(faceforensics(data)))
    assert videos["Original/01__exit_phone_room"].identities == ("actor-01",)
    fake_video = videos["DeepFakeDetection/01_02__exit_phone_room__YVGY8LOK"]
    assert fake_video.identities == ("actor-01", "actor-02")
    assert {videos[f"Original/0{actor}__exit_phone_room"].split for actor in (1, 2)} == {fake_video.split}


def test_the_compression_asked_for_is_the_one_indexed(data):
    add_video(original(faceforensics(data), "000", "c40"))
    assert list(indexed(data, compression="c40")) == ["Original/000"]
    with pytest.raises(UserError, match="'raw'.*c23, c40"):
        indexed(data, compression="raw")


def test_c0_and_raw_are_one(data):
    add_video(original(data, "000", "c0"))
    assert list(indexed(data, compression="raw")) == ["Original/000"]


def test_a_method_that_has_only_another_compression_is_named(data):
    faceforensics(data)
    add_video(data / "manipulated_sequences/FaceShifter/c40/videos/000_003.mp4")
    assert "manipulated_sequences/FaceShifter: it has no compression c23, only c40" in report_text(corpus_of(data))


def test_the_flat_copy_keeps_who_is_who(data):
    for name in ("original/000", "original/003", "Deepfakes/000_003", "FaceShifter/000_003"):
        add_video(data / f"{name}.mp4")
    add_csv(data / "csv/FF++_Metadata.csv", [["File Path", "Label"]])
    videos = indexed(data)
    assert videos["Deepfakes/000_003"].identities == ("000", "003")
    assert videos["Original/000"].dataset == "FACEFORENSICS"
    assert len({video.split for video in videos.values()}) == 1


def test_what_the_official_lists_name_and_the_tree_has_not_is_counted(data):
    corpus = corpus_of(faceforensics(data))
    missing = {item.video for item, _ in corpus.missing}
    assert missing == {f"{method}/{pair}" for method in ("Deepfakes", "FaceSwap") for pair in ("003_000", "011_010", "021_020")}
    assert row_of(report_text(corpus), "FaceSwap", TRAIN) == ["FaceSwap", TRAIN, "1", "0.00", "1", "0", "0", "0"]
    assert row_of(report_text(corpus), "Deepfakes", TEST) == ["Deepfakes", TEST, "1", "0.00", "1", "0", "0", "1"]


def test_ones_own_videos_join_whatever_their_names(data):
    before = indexed(faceforensics(data))
    add_video(original(data, "our holiday 2"))
    add_video(fake(data, "Deepfakes", "000_anna"))
    videos = indexed(data)
    assert videos["Original/our holiday 2"].identities == ("our-holiday-2",)
    assert videos["Deepfakes/000_anna"].split == TRAIN
    assert before.items() <= videos.items()


def test_without_official_lists_a_fake_and_all_its_people_share_a_split(data):
    for number in range(0, 200, 2):
        target, source = f"{number:03}", f"{number + 1:03}"
        for path in (original(data, target), original(data, source), fake(data, "Deepfakes", f"{target}_{source}")):
            add_video(path)
    videos = indexed(data)
    splits = {video.identities[0]: video.split for video in videos.values() if video.label == 0}
    for video in videos.values():
        assert {splits[identity] for identity in video.identities} == {video.split}
    shares = [list(splits.values()).count(split) for split in (TRAIN, VAL, TEST)]
    assert shares[0] > 110
    assert min(shares) > 8
    assert indexed(data) == videos


def test_lists_that_share_a_person_are_refused(data):
    add_json(faceforensics(data) / "splits/test.json", [["000", "021"]])
    with pytest.raises(UserError, match="'000'"):
        indexed(data)


# DFDC


def test_dfdc_parts_are_read_however_they_were_unpacked(data):
    videos = indexed(dfdc(data))
    assert {name: video.label for name, video in videos.items()} == {
        "DFDC/ab": 1,
        "DFDC/ac": 1,
        "DFDC/bb": 1,
        "Original/aa": 0,
        "Original/ba": 0,
    }
    assert {video.dataset for video in videos.values()} == {"DFDC"}
    for fake_video, real in (("DFDC/ab", "Original/aa"), ("DFDC/ac", "Original/aa"), ("DFDC/bb", "Original/ba")):
        assert videos[fake_video].identities == videos[real].identities
        assert videos[fake_video].split == videos[real].split


def test_one_part_of_dfdc_may_be_given_directly(data):
    dfdc(data)
    assert set(indexed(data / "dfdc_train_part_0")) == {"Original/aa", "DFDC/ab", "DFDC/ac"}
    (data / "dfdc_train_part_01").rename(data / "dfdc_train_part_1")
    assert set(indexed(data / "dfdc_train_part_1")) == {"Original/ba", "DFDC/bb"}


def test_what_dfdc_published_for_training_is_parted_by_originals(data):
    dfdc_part(data, {f"{kind}{n}.mp4": f"a{n}.mp4" if kind == "b" else None for n in range(40) for kind in "ab"})
    videos = indexed(data)
    assert {video.split for video in videos.values()} == {TRAIN, VAL, TEST}
    assert all(videos[f"DFDC/b{n}"].split == videos[f"Original/a{n}"].split for n in range(40))


def test_the_sample_on_kaggle_is_read_without_its_sample_submission(data):
    dfdc_part(data / "train_sample_videos", {"aa.mp4": None, "ab.mp4": "aa.mp4"})
    add_video(data / "test_videos/zz.mp4")
    add_csv(data / "sample_submission.csv", [["filename", "label"], ["zz.mp4", 0.5]])
    corpus = corpus_of(data)
    assert [video.video for video in corpus.videos] == ["DFDC/ab", "Original/aa"]
    assert "test_videos: a folder without metadata.json or labels.csv" in report_text(corpus)


@pytest.mark.parametrize("labels", [("0", "1"), ("REAL", "FAKE")])
def test_a_labels_csv_makes_a_test_set_and_training_keeps_off_it(data, labels):
    dfdc(data)
    add_csv(
        data / "test/labels.csv",
        [["filename", "label"], ["ta.mp4", labels[0]], ["videos/tb.mp4", labels[1]], ["tc.mp4", labels[1]]],
    )
    add_video(data / "test/ta.mp4")
    add_video(data / "test/videos/tb.mp4")
    corpus = corpus_of(data)
    videos = {video.video: video for video in corpus.videos}
    assert [name for name, video in videos.items() if video.split == TEST] == ["DFDC/tb", "Original/ta"]
    assert row_of(report_text(corpus), "DFDC", TEST)[:5] == ["DFDC", TEST, "1", "0.00", "1"]


def test_a_test_set_may_say_is_fake(data):
    add_json(data / "metadata.json", {"ta.mp4": {"is_fake": 0}, "tb.mp4": {"is_fake": 1, "augmentations": []}})
    add_csv(data / "labels.csv", [["filename", "label"], ["ta.mp4", 0], ["tb.mp4", 1]])
    for name in ("ta", "tb"):
        add_video(data / f"{name}.mp4")
    assert splits_of(indexed(data)) == {"DFDC/tb": TEST, "Original/ta": TEST}


def test_a_video_that_no_list_knows_is_left_out_and_named(data):
    add_video(dfdc(data) / "dfdc_train_part_0/new.mp4")
    corpus = corpus_of(data)
    assert "new" not in {video.stem for video in corpus.videos}
    assert "dfdc_train_part_0/new.mp4: metadata.json does not list it" in report_text(corpus)


def test_a_list_cut_short_is_named(data):
    add_text(dfdc(data) / "dfdc_train_part_0/metadata.json", '{"aa.mp4": {"lab')
    with pytest.raises(UserError, match=r"part_0/metadata\.json cannot be read as JSON"):
        indexed(data)


# Celeb-DF


def test_celebdf_knows_who_is_who(data):
    videos = indexed(celebdf(data))
    fake_video = videos["Celeb-synthesis/id0_id1_0000"]
    assert (fake_video.label, fake_video.method, fake_video.identities) == (1, "Celeb-synthesis", ("id0", "id1"))
    assert videos["Original/id0_0001"].identities == ("id0",)
    identities = videos["Original/00170"].identities
    assert [name for name, video in videos.items() if set(video.identities) & set(identities)] == ["Original/00170"]
    assert {video.dataset for video in videos.values()} == {"CELEBDF"}


def test_in_the_list_of_celebdf_one_means_real(data):
    tested = {name for name, video in indexed(celebdf(data)).items() if video.split == TEST}
    assert tested == {"Original/00170", "Original/id2_0000"}
    with pytest.raises(UserError, match="'0 YouTube-real/00170.mp4'.*1 means real"):
        indexed(celebdf(data, ["0 YouTube-real/00170.mp4"]))


def test_a_line_of_the_list_that_cannot_be_read_is_named(data):
    with pytest.raises(UserError, match="line 2: 'YouTube-real/00170.mp4'"):
        indexed(celebdf(data, ["1 YouTube-real/00000.mp4", "YouTube-real/00170.mp4"]))


def test_the_official_list_of_celebdf_leaks_and_both_ways_on_are_settings(data):
    celebdf(data, ["1 Celeb-real/id0_0000.mp4", "0 Celeb-synthesis/id0_id1_0000.mp4", "1 Celeb-real/id9_0000.mp4"])
    with pytest.raises(UserError, match=r"'id0' is in.*splits to groups.*allow_leaks to true"):
        indexed(data)
    official = indexed(data, allow_leaks=True)
    assert [name for name, video in official.items() if video.split == TEST] == [
        "Celeb-synthesis/id0_id1_0000",
        "Original/id0_0000",
    ]
    drawn = indexed(data, splits="groups")
    assert len({video.split for video in drawn.values() if {"id0", "id1"} & set(video.identities)}) == 1
    assert row_of(report_text(corpus_of(data, allow_leaks=True)), "Original", TEST)[2:5] == ["1", "0.00", "1"]


def test_version_one_without_a_list_is_split_by_people(data):
    (celebdf(data) / "List_of_testing_videos.txt").unlink()
    corpus = corpus_of(data)
    assert not corpus.leaks
    assert "there is no List_of_testing_videos.txt" in report_text(corpus)


# Class folders


@pytest.mark.parametrize(
    ("real", "fakes", "method"), [("real", "fake", "fake"), ("REAL", "Fake", "Fake"), ("Real_youtube", "FaceSwap", "FaceSwap")]
)
def test_class_folders_are_recognised_by_their_names(data, real, fakes, method):
    videos = indexed(folder(data, real, fakes))
    assert {(video.method, video.label) for video in videos.values()} == {("Original", 0), (method, 1)}
    assert set(videos) == {f"Original/r{n}" for n in range(3)} | {f"{method}/f{n}" for n in range(3)}


def test_pictures_are_taken_and_that_nobody_knows_who_is_in_them_is_said(data):
    add_picture(data / "Real_youtube/image_001.PNG", 10)
    add_picture(data / "NeuralTextures/another_fake_001.jpg", 90)
    corpus = corpus_of(data)
    assert [video.video for video in corpus.videos] == ["NeuralTextures/another_fake_001", "Original/image_001"]
    assert "the person in 2 of the 2 files is unknown" in report_text(corpus)
    assert row_of(report_text(corpus), "all")[4:5] == ["0"]


def test_metadata_says_what_the_folders_cannot(data):
    folder(data)
    add_json(
        data / "metadata.json",
        {
            "real/r0.mp4": {"label": 0, "source": "real", "identity": "Anna B", "split": "test"},
            "f0.mp4": {"label": "FAKE", "original": "r0.mp4", "method": "swap"},
            "r1.mp4": {"identity": ["carl", "dora"], "split": "val"},
            "f7.mp4": {"label": 1, "split": "train"},
        },
    )
    corpus = corpus_of(data)
    corpus.check_leaks()
    videos = {video.video: video for video in corpus.videos}
    assert (videos["Original/r0"].split, videos["Original/r0"].identities) == (TEST, ("Anna-B",))
    assert (videos["swap/f0"].split, videos["swap/f0"].identities) == (TEST, ("Anna-B",))
    assert (videos["Original/r1"].split, videos["Original/r1"].identities) == (VAL, ("carl", "dora"))
    assert [(item.path.name, split) for item, split in corpus.missing] == [("f7.mp4", TRAIN)]


def test_metadata_that_contradicts_the_folders_is_refused(data):
    add_json(folder(data) / "metadata.json", {"r1.mp4": {"label": 1}})
    with pytest.raises(UserError, match=r"metadata\.json contradicts.*real/r1\.mp4"):
        indexed(data)


@pytest.mark.parametrize(("entry", "message"), [({"label": "maybe"}, "'maybe'"), ({"split": "holdout"}, "'holdout'")])
def test_words_of_metadata_that_mean_nothing_are_named(data, entry, message):
    add_json(folder(data) / "metadata.json", {"r1.mp4": entry})
    with pytest.raises(UserError, match=message):
        indexed(data)


def test_files_without_a_folder_need_only_a_label(data):
    add_json(data / "metadata.json", {"a.mp4": {"label": 0}, "b.mp4": {"label": 1, "original": "a.mp4"}})
    for name in "abc":
        add_video(data / f"{name}.mp4")
    corpus = corpus_of(data)
    assert [(video.video, video.label) for video in corpus.videos] == [("Original/a", 0), ("fake/b", 1)]
    assert "c.mp4: it is in no class folder" in report_text(corpus)


@pytest.mark.parametrize("outer", [True, False])
def test_folders_named_after_splits_give_them(data, outer):
    for split in ("train", "val", "Test"):
        for kind in ("real", "fake"):
            add_video(data / (f"{split}/{kind}" if outer else f"{kind}/{split}") / "001.mp4")
    assert splits_of(indexed(data)) == {
        f"{method}/{name}_001": split
        for method in ("Original", "fake")
        for name, split in (("train", TRAIN), ("val", VAL), ("Test", TEST))
    }


def test_a_folder_below_a_class_is_a_person(data):
    for number in range(12):
        add_video(data / f"real/videos/p{number}/a.mp4")
        add_video(data / f"fake/videos/p{number}/b.mp4")
    videos = indexed(data)
    for number in range(12):
        assert videos[f"Original/p{number}_a"].split == videos[f"fake/p{number}_b"].split
    assert len(set(splits_of(videos).values())) > 1


@pytest.mark.parametrize("name", ["RealisticSwap", "source_videos", "not_real", "real-vs-fake", "method_C", "LIA"])
def test_a_folder_whose_name_says_neither_real_nor_fake_is_never_guessed(data, name):
    folder(data, "real", "fake")
    add_video(data / name / "a.mp4")
    message = refusal(data)
    assert f"1 files would be left out of the index: {data / name} (1)" in message
    assert "add --skip_unknown" in message
    entry = f'{{"{name}": {{"label": "real"}}}}'
    assert f'write {entry} into {data / "metadata.json"}, or "fake"' in message
    kept = corpus_of(data, skip_unknown=True)
    assert len(kept.videos) == 6
    assert f"{name}: its name implies neither real nor fake" in report_text(kept)
    add_text(data / "metadata.json", entry)
    stem = f"{name}_a"  # then two folders hold real videos
    assert (indexed(data)[f"Original/{stem}"].label, len(indexed(data))) == (0, 7)
    add_text(data / "metadata.json", entry.replace('real"}', 'fake"}'))
    assert indexed(data)[f"{name}/a"].label == 1


def test_folders_that_only_metadata_labels_are_a_corpus(data):
    add_video(data / "clips/anna/a.mp4")
    add_video(data / "swaps/b.mp4")
    assert 'write a metadata.json into it, such as {"clips": {"label": "real"}}' in refusal(data)
    entries = {"clips": {"label": "REAL"}, "swaps": {"label": "FAKE", "identity": "bert"}}
    add_json(data / "metadata.json", entries)
    videos = indexed(data)
    assert {name: (video.label, video.identities) for name, video in videos.items()} == {
        "Original/a": (0, ("a",)),
        "swaps/b": (1, ("bert",)),
    }
    add_json(data / "metadata.json", {**entries, "clips/anna": {"identity": "anna", "split": "test"}})
    assert indexed(data)["Original/a"].split == TEST


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("YouTube-real", 0),
        ("0_real", 0),
        ("original_videos", 0),
        ("RealVideo-FakeAudio", 0),
        ("FakeVideo-RealAudio", 1),
        ("synthesized_videos", 1),
        ("Celeb-synthesis", 1),
        ("FaceSwap_c23", 1),
        ("Real3DPortrait", 1),
        ("DeepFakeDetection", 1),
        ("deepfake-detection-challenge", None),
        ("target", None),
    ],
)
def test_what_names_of_class_folders_say(name, label):
    assert class_label(name) == label


def test_a_corpus_whose_own_name_says_fake_is_no_folder_of_fakes(data):
    for path in ("RealVideo-RealAudio/a", "FakeVideo-RealAudio/b"):
        add_video(data / f"FakeAVCeleb/{path}.mp4")
    assert {name: video.label for name, video in indexed(data).items()} == {"Original/a": 0, "FakeVideo-RealAudio/b": 1}


def test_a_folder_of_fakes_among_real_videos_is_asked_about(data):
    add_video(folder(data) / "real/studio/fakes/x.mp4")
    with pytest.raises(UserError, match=r'real/studio/fakes is in real/.*\{"real/studio/fakes": \{"label": "real"\}\}'):
        indexed(data)
    add_json(data / "metadata.json", {"real/studio/fakes": {"label": "real"}})
    assert indexed(data)["Original/studio_fakes_x"].label == 0


# What every layout does


@pytest.mark.parametrize("build", [faceforensics, dfdc, celebdf, folder])
def test_links_capitals_and_leftovers_of_systems_change_nothing(data, build):
    plain = indexed(build(data))
    linked = data.parent / "linked"
    linked.mkdir()
    for path in sorted(data.iterdir()):
        (linked / path.name).symlink_to(path)
    for path in [path for path in data.rglob("*.mp4")]:
        shutil.copy(path, path.with_name(f"._{path.name}"))
        add_text(path.with_name(".DS_Store"))
    video = next(path for path in data.rglob("*.mp4") if not path.name.startswith("."))
    shutil.copytree(video.parent, data / "__MACOSX")
    corpus = corpus_of(linked)
    assert {video.video: (video.label, video.split, video.identities, video.content) for video in corpus.videos} == {
        name: (video.label, video.split, video.identities, video.content) for name, video in plain.items()
    }
    assert "DS_Store" not in report_text(corpus)
    assert "._" not in report_text(corpus)


def test_a_link_in_a_circle_ends(data):
    (folder(data) / "real/again").symlink_to(data / "real")
    assert len(indexed(data)) == 6


def test_what_does_not_fit_is_named_with_its_remedy(data):
    videos = original(faceforensics(data), "000").parent
    shutil.copy(videos / "000.mp4", videos / "030.MKV")
    add_text(videos / "notes.txt")
    add_text(videos / "050.mp4.part")
    add_text(data / "FaceSwap_c23.zip")
    (videos / "gone.mp4").symlink_to(data / "nowhere")
    os.mkfifo(videos / "pipe.mp4")
    add_video(videos / "more/040.mp4")
    add_video(data / "manipulated_sequences/Deepfakes/000_003.mp4")
    add_video(fake(data, "Deepfakes", "somebody"))
    add_text(data / "stuff/readme.txt")
    with pytest.raises(UserError, match=r"videos/more \(1\): a folder among the videos.*--skip_unknown"):
        corpus_of(data)
    text = report_text(corpus_of(data, skip_unknown=True))
    for phrase in (
        "notes.txt: '.txt' is not a suffix of videos; correct it",
        "050.mp4.part: an unfinished download; download it again",
        "FaceSwap_c23.zip: an archive; unpack it",
        "gone.mp4: a link to a file that does not exist",
        "pipe.mp4: a pipe",
        "videos/more: a folder among the videos, which was not read; move its videos up",
        "Deepfakes/000_003.mp4: a video in an unexpected folder; move it",
        "somebody.mp4: the name does not identify the person",
        "stuff: a folder that is not part of the layout",
        "Original/000 = Original/030: the same file; remove all copies but one",
    ):
        assert phrase in text
    assert "readme.txt" not in text


def test_broken_files_stay_in_the_index_and_are_counted(data):
    faceforensics(data)
    (original(data, "000")).write_bytes(b"")
    (original(data, "020")).write_bytes(b"")  # the same bytes in another split, but no pictures
    add_text(fake(data, "FaceSwap", "010_011"), "not found")
    add_text(fake(data, "FaceSwap", "020_021"), "not found")
    add_text(fake(data, "FaceSwap", "000_003"), "#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n")
    corpus = corpus_of(data)
    corpus.check_leaks()
    assert len(corpus.videos) == 12
    text = report_text(corpus)
    assert row_of(text, "all")[4:6] == ["5", "0"]
    assert row_of(text, "Original", TRAIN)[5] == "1"
    assert "000.mp4, original_sequences/youtube/c23/videos/020.mp4: it is empty" in text


def test_a_file_that_may_not_be_read_takes_nothing_with_it(data, monkeypatch):
    def hash_if_allowed(path):
        if path.stem == "000":
            raise PermissionError(13, "Permission denied")
        return path.name

    monkeypatch.setattr("explain_deepfakes.preprocessing.corpus.file_facts.content_hash", hash_if_allowed)
    corpus = corpus_of(faceforensics(data))
    assert "000.mp4: it cannot be read (Permission denied)" in report_text(corpus)
    assert len(corpus.videos) == 12


def test_two_files_of_one_name_are_named(data):
    add_video(original(faceforensics(data), "000").with_suffix(".avi"))
    with pytest.raises(UserError, match=r"000\.avi.*000\.mp4.*Original/000|000\.mp4.*000\.avi"):
        indexed(data)


def test_a_label_that_the_same_bytes_contradict_is_reported(data):
    folder(data, count=1)
    add_json(data / "metadata.json", {"r0.mp4": {"split": "train"}, "f0.mp4": {"split": "train"}})
    shutil.copy(data / "real/r0.mp4", data / "fake/f0.mp4")
    assert "Original/r0 = fake/f0: the same file is labelled both real and fake" in report_text(corpus_of(data))


def test_a_split_without_fakes_is_reported(data):
    assert "the validation_set holds no real and no fake videos" in report_text(
        corpus_of(celebdf(data, ["1 YouTube-real/00170.mp4"]))
    )


# Leaks


def planted(data, seed) -> list[str]:
    """Build a tree with random leaks and nothing else in two splits. Return the expected message for each leak."""
    draw = random.Random(seed)
    split_names = {"train": TRAIN, "val": VAL, "test": TEST}
    metadata, expected = {}, []
    for number in range(12):
        split = draw.choice(list(split_names))
        metadata[f"real/r{number}.mp4"] = {"split": split, "identity": f"p{number}"}
        metadata[f"fake/f{number}.mp4"] = {"split": split, "identity": f"q{number}"}
    twins = set()
    for number in draw.sample(range(12), 4):
        kind = draw.choice(("identity", "bytes", "source"))
        real, fake_video = metadata[f"real/r{number}.mp4"], metadata[f"fake/f{number}.mp4"]
        fake_video["split"] = draw.choice([name for name in split_names if name != real["split"]])
        names = {split_names[real["split"]]: f"Original/r{number}", split_names[fake_video["split"]]: f"fake/f{number}"}
        location = "is in " + ", ".join(f"{split} ({names[split]})" for split in sorted(names))
        if kind == "identity":
            fake_video["identity"] = real["identity"]
            expected.append(f"identity 'p{number}' {location}")
        elif kind == "source":
            fake_video["original"] = f"real/r{number}.mp4"
            expected += [f"the footage of Original/r{number} {location}", f"identity 'p{number}' {location}"]
        else:
            twins.add(number)
            expected.append(f"the file Original/r{number} {location}")
    for path in metadata:
        number = int(Path(path).stem[1:])
        add_video(data / path, f"twin {number}" if number in twins else None)
    add_json(data / "metadata.json", metadata)
    return expected


@pytest.mark.parametrize("seed", range(8))
def test_every_leak_that_was_planted_is_found_and_nothing_else(data, seed):
    expected = planted(data, seed)
    corpus = corpus_of(data)
    assert sorted(leak.text(None) for leak in corpus.leaks) == sorted(expected)
    with pytest.raises(UserError, match="the splits leak"):
        corpus.check_leaks()
    corpus_of(data, allow_leaks=True).check_leaks()
    assert corpus_of(data, splits="groups").leaks == []


def test_every_video_that_leaks_is_named_in_full(data):
    faceforensics(data)
    for name in ("000_020", "003_020", "000_021"):
        add_video(fake(data, "Deepfakes", name))
    assert "identity '020' is in test_set (Deepfakes/020_021 and 2 more), training_set" in leaks_in_brief(data)
    leak = next(leak for leak in corpus_of(data).leaks if leak.cause == "identity '020'")
    assert "training_set (Deepfakes/000_020, Deepfakes/003_020)" in leak.text(None)


def leaks_in_brief(data) -> str:
    with pytest.raises(UserError) as error:
        corpus_of(data).check_leaks()
    return str(error.value)


def test_a_fake_between_two_splits_is_a_leak_by_name(data):
    add_video(fake(faceforensics(data), "Deepfakes", "000_020"))
    with pytest.raises(UserError, match="Deepfakes/000_020"):
        indexed(data)


def test_splits_joined_over_a_third_person_are_a_leak(data):
    add_video(fake(faceforensics(data), "Deepfakes", "000_anna"))
    add_video(fake(data, "Deepfakes", "anna_020"))
    with pytest.raises(UserError, match=r"'anna' is in test_set \(Deepfakes/anna_020\), training_set \(Deepfakes/000_anna\)"):
        indexed(data)


def test_a_leak_of_the_index_is_found_whatever_made_it():
    def video(name, split):
        return Video(f"Original/{name}", "Original", 0, split, ("anna",), f"{name}.mp4", "", name, "DEMO")

    assert find_leaks([video("one", TEST), video("two", TEST)], {}) == []
    leak = Leak("identity 'anna'", ((TEST, ("Original/one",)), (TRAIN, ("Original/two",))))
    assert find_leaks([video("one", TEST), video("two", TRAIN)], {}) == [leak]


# Wrong trees


def refusal(data, dataset="AUTO") -> str:
    with pytest.raises(UserError) as error:
        indexed(data, dataset)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_an_unknown_layout_is_named_with_the_known_ones(data):
    assert "'FF' is not a known layout; available: AUTO, DEMO, DEEPERFORENSICS, FACEFORENSICS, CELEBDF," in refusal(data, "FF")


@pytest.mark.parametrize("there", ["", "clips"])
def test_a_tree_of_no_layout_is_refused_with_what_was_looked_for_and_what_is_there(data, there):
    (data / "videos" / there).mkdir(parents=True)
    message = refusal(data / "videos")
    assert "original_sequences/" in message
    assert f"it contains: {there + '/' if there else 'nothing'}" in message


@pytest.mark.parametrize(
    ("build", "expected_layout", "dataset"),
    [
        (faceforensics, "FACEFORENSICS", "DFDC"),
        (dfdc, "DFDC", "CELEBDF"),
        (celebdf, "CELEBDF", "FOLDER"),
        (folder, "FOLDER", "FACEFORENSICS"),
    ],
)
def test_a_tree_forced_to_be_another_is_refused_with_what_it_looks_like(data, build, expected_layout, dataset):
    assert f"it looks like {expected_layout}" in refusal(build(data), dataset)


@pytest.mark.parametrize(
    ("build", "inside"),
    [
        (faceforensics, "manipulated_sequences"),
        (faceforensics, "original_sequences/youtube/c23/videos"),
        (faceforensics, "manipulated_sequences/Deepfakes"),
        (celebdf, "Celeb-real"),
        (folder, "real"),
    ],
)
def test_a_folder_inside_a_tree_is_sent_up(data, build, inside):
    assert f"tree at {data}: set data_path to that" in refusal(build(data) / inside)


@pytest.mark.parametrize("build", [faceforensics, celebdf])
def test_class_folders_may_not_be_forced_on_a_corpus_whose_names_say_who_is_who(data, build):
    assert "it looks like" in refusal(build(data), "FOLDER")


def test_crops_are_not_videos(data):
    add_picture(data / "training_set/Deepfakes/000_003/0_0.png", 10)
    add_text(data / LEDGER)
    for tree in (data, data / "training_set"):
        assert "it looks like crops" in refusal(tree)


@pytest.mark.parametrize("build", [faceforensics, folder, dfdc, celebdf])
def test_what_our_commands_leave_in_the_corpus_does_not_hide_it(data, build):
    before = indexed(build(data))
    add_text(data / "boxes/Deepfakes/000_003.json")
    add_picture(data / "training_set/Deepfakes/000_003/0_0.png", 10)
    add_text(data / "training_set" / LEDGER)
    add_text(data / LEDGER)
    corpus = corpus_of(data)
    assert {video.video: video for video in corpus.videos} == before
    assert "training_set/" not in report_text(corpus)


def test_a_heap_of_videos_is_refused_with_how_to_label_them(data):
    add_video(data / "a.mp4")
    assert "its 1 files have no labels: move them into real/ and fake/" in refusal(data)


def test_two_corpora_in_one_folder_are_asked_about(data):
    faceforensics(data / "FaceForensics")
    celebdf(data / "Celeb-DF")
    assert "Celeb-DF (CELEBDF), FaceForensics (FACEFORENSICS); set data_path to one" in refusal(data)


def test_lists_without_their_videos_are_reported(data):
    add_json(data / "metadata.json", {"a.mp4": {"label": "REAL"}})
    assert "none of the 1 videos in" in refusal(data)


# The cache of file facts


def test_a_file_is_looked_at_once_and_again_when_it_changed(data, monkeypatch):
    path, cache = add_video(data / "a.mp4"), data / "cache.jsonl"
    first = read_file_facts([path], cache, 1)
    assert first[path].seconds == pytest.approx(0.2)
    cut = cache.read_text()
    cache.write_text(cut + cut[:20])
    with monkeypatch.context() as patch:
        patch.setattr("explain_deepfakes.preprocessing.corpus.file_facts.map_unordered", None)
        assert read_file_facts([path], cache, 1) == first
    add_video(path, "other bytes, of another length")
    assert read_file_facts([path], cache, 1)[path].content != first[path].content


def test_a_file_that_crashes_or_stops_the_library_takes_nothing_with_it(tmp_path, monkeypatch):
    monkeypatch.setattr("explain_deepfakes.preprocessing.corpus.file_facts.inspect_file", inspect_or_crash)
    paths = [add_video(tmp_path / f"{name}.mp4") for name in ("crash", "good", "hang")]
    crash, good, hang = read_file_facts(paths, tmp_path / "cache.jsonl", 2).values()
    assert (good.problem, good.seconds) == ("", pytest.approx(0.2))
    assert "crashes the library (SIGSEGV)" in crash.problem
    assert "takes more than" in hang.problem
    assert len({crash.content, good.content, hang.content} - {""}) == 3


def test_the_index_is_the_same_with_and_without_the_cache(data):
    before = indexed(faceforensics(data))
    assert indexed(data) == before
    Path(CACHE).unlink()
    assert indexed(data) == before


# The command


def test_the_command_writes_the_index_and_prints_the_table(data):
    faceforensics(data)
    result = run_script(Path.cwd(), "index_videos", "--data_path", str(data))
    assert result.returncode == 0, result.stderr
    assert read_index(data / "index/videos.csv") == list(indexed(data).values())
    assert row_of(result.stdout, "all") == ["all", "12", "0.00", "6", "0", "0", "5"]


def validated(data, *flags: str) -> tuple[int, list[str]]:
    """The exit status of `--validate`, and the lines it printed."""
    result = run_script(Path.cwd(), "index_videos", "--data_path", str(data), "--validate", *flags)
    assert not (data / "index").exists()
    return result.returncode, result.stdout.splitlines()


def complete(data) -> Path:
    """Build a tree of which nothing is missing."""
    faceforensics(data)
    for pairs in FF_PAIRS.values():
        for method in FF_METHODS:
            add_video(fake(data, method, "_".join(reversed(pairs[0]))))
    return data


def test_validation_writes_nothing_and_ends_in_the_verdict(data):
    status, lines = validated(complete(data))
    assert (status, lines[-1]) == (0, "ready")
    for name in ("000_020", "003_021"):
        add_video(fake(data, "Deepfakes", name))
    status, lines = validated(data)
    assert (status, lines[-1]) == (2, "4 problems: 4 leaks")
    assert sum(line.startswith("- leak: ") for line in lines) == 4
    assert lines[-2].startswith("- the splits leak; remove these videos; or set index_videos.splits to groups")
    assert validated(data, "--allow_leaks")[1][-1] == "ready"


def test_validation_counts_each_kind_of_problem(data):
    complete(data)
    fake(data, "FaceSwap", "011_010").unlink()
    add_text(fake(data, "Deepfakes", "000_003"), "no video")
    shutil.copy(original(data, "020"), fake(data, "FaceSwap", "020_021"))
    add_text(data / "manipulated_sequences/notes.zip")
    status, lines = validated(data)
    assert status == 2
    assert set(lines[-1].removeprefix("4 problems: ").split(", ")) == {
        "1 missing file",
        "1 broken file",
        "1 file of two labels",
        "1 unfit file",
    }
    shutil.rmtree(data / "splits")
    for number in ("010", "011", "020", "021"):
        original(data, number).unlink()
    assert "incomplete split" in validated(data)[1][-1]


def test_a_layout_in_params_holds_for_the_folder_in_params_alone(data):
    celebdf(data)
    assert run_script(Path.cwd(), "index_videos", "--data_path", str(data)).returncode == 0
    forced = run_script(Path.cwd(), "index_videos", "--data_path", str(data), "--dataset", "DEMO", "--validate")
    assert forced.returncode == 2
    assert "it looks like CELEBDF" in forced.stderr


def test_paths_of_the_index_are_relative_to_the_project(data):
    faceforensics(data).rename("mine")
    result = run_script(Path.cwd() / "mine", "index_videos", "--data_path", ".")
    assert result.returncode == 0, result.stderr
    text = files_of(Path.cwd())["mine/index/videos.csv"].decode()
    assert "mine/original_sequences/youtube/c23/videos/000.mp4" in text
    assert str(Path.cwd()) not in text


def test_a_wrong_folder_ends_the_command_in_one_line(data):
    result = run_script(Path.cwd(), "index_videos", "--data_path", "nowhere")
    assert result.returncode == 2
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def test_another_folder_is_not_read_by_the_manifest_of_the_settings(data: Path) -> None:
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["index_videos"]["manifest"] = str(data / "labels.csv")
    Path("params.yaml").write_text(yaml.safe_dump(params))
    folder(data)
    done = run_script(Path.cwd(), "index_videos", "--data_path", str(data))
    assert done.returncode == 0, done.stderr
