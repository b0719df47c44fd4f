"""Trees of videos are indexed right, and what does not fit is named."""

import json

import pytest
from little_videos import fake, files_of, original, project, run_script

from pipeline.errors import UserError
from pipeline.index import Video, read_index
from preprocessing.layouts import index_of
from preprocessing.splits import check_leaks

METHODS = ("Deepfakes", "FaceSwap")
PAIRS = {"train": [["000", "003"]], "val": [["010", "011"]], "test": [["020", "021"]]}


@pytest.fixture
def corpus(tmp_path):
    """Two originals and a fake of each method in each split. The files' bytes are all that an index reads of them."""
    data = tmp_path / "videos"
    for pairs in PAIRS.values():
        for target, source in pairs:
            paths = [original(data, target), original(data, source)]
            paths += [fake(data, method, f"{target}_{source}") for method in METHODS]
            for path in paths:
                put(path)
    put(data / "manipulated_sequences/FaceSwap/masks/videos/000_003.mp4")
    write_splits(data / "splits")
    return data


def put(path, content=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content or str(path))


def write_splits(folder):
    for name, pairs in PAIRS.items():
        put(folder / f"{name}.json", json.dumps(pairs))


def indexed(data, dataset="FACEFORENSICS", compression="c23"):
    return {video.video: video for video in index_of(data, dataset, compression)}


def test_the_index_says_what_the_tree_says(corpus):
    videos = indexed(corpus)
    assert list(videos) == sorted(videos)
    assert len(videos) == 12
    real, made = videos["Original/010"], videos["FaceSwap/000_003"]
    assert (real.label, real.method, real.split, real.identities) == (0, "Original", "validation_set", ("010",))
    assert (made.label, made.method, made.split) == (1, "FaceSwap", "training_set")
    assert made.identities == ("000", "003")
    assert made.mask.endswith("FaceSwap/masks/videos/000_003.mp4")
    assert videos["Deepfakes/000_003"].mask == ""


@pytest.mark.parametrize("name", ["FACEFORENSIC", "DEMO", "faceforensics"])
def test_other_names_of_the_layout_are_known(corpus, name):
    assert indexed(corpus, name) == indexed(corpus)


def test_an_unknown_layout_is_named_with_the_known_ones(corpus):
    with pytest.raises(UserError, match="'FF'.*FACEFORENSICS"):
        indexed(corpus, "FF")


@pytest.mark.parametrize("place", ["splits", "dataset/splits", "inner/splits", "inner/dataset/splits"])
def test_the_tree_may_lie_a_folder_deeper_and_the_splits_in_the_places_people_have_them(corpus, tmp_path, place):
    flat = indexed(corpus)
    (corpus / "splits").rename(tmp_path / "splits")
    (tmp_path / "outer").mkdir()
    corpus.rename(tmp_path / "outer/inner")
    target = tmp_path / "outer" / place
    target.parent.mkdir(exist_ok=True)
    (tmp_path / "splits").rename(target)
    deeper = indexed(tmp_path / "outer")
    assert {name: video.split for name, video in deeper.items()} == {n: v.split for n, v in flat.items()}


def test_the_compression_asked_for_is_the_one_indexed(corpus):
    put(original(corpus, "000", "c40"))
    assert list(indexed(corpus, compression="c40")) == ["Original/000"]
    with pytest.raises(UserError, match="'raw'.*c23, c40"):
        indexed(corpus, compression="raw")


def test_what_is_no_video_is_passed_over(corpus):
    folder = original(corpus, "000").parent
    for name in ("notes.txt", ".030.12.part.mp4"):
        put(folder / name)
    put(folder / "030.MKV")
    assert set(indexed(corpus)) - {"Original/030"} == {name for name in indexed(corpus) if name != "Original/030"}
    assert len(indexed(corpus)) == 13


def test_two_files_of_one_name_are_named(corpus):
    put(original(corpus, "000").with_suffix(".avi"))
    with pytest.raises(UserError, match=r"000\.avi.*000\.mp4.*Original/000|000\.mp4.*000\.avi"):
        indexed(corpus)


def test_ones_own_videos_join_whatever_their_names(corpus):
    before = indexed(corpus)
    put(original(corpus, "our holiday 2"))
    put(fake(corpus, "Deepfakes", "000_anna"))
    videos = indexed(corpus)
    assert videos["Original/our holiday 2"].identities == ("our-holiday-2",)
    assert videos["Deepfakes/000_anna"].split == "training_set"
    assert before.items() <= videos.items()


def test_without_official_lists_a_fake_and_all_its_people_share_a_split(tmp_path):
    for number in range(0, 200, 2):
        one, other = f"{number:03}", f"{number + 1:03}"
        for path in (original(tmp_path, one), original(tmp_path, other), fake(tmp_path, "Deepfakes", f"{one}_{other}")):
            put(path)
    videos = indexed(tmp_path)
    splits = {video.identities[0]: video.split for video in videos.values() if video.label == 0}
    for video in videos.values():
        assert {splits[identity] for identity in video.identities} == {video.split}
    shares = [list(splits.values()).count(split) for split in ("training_set", "validation_set", "test_set")]
    assert shares[0] > 110
    assert min(shares) > 8
    assert indexed(tmp_path) == videos


def test_a_fake_between_two_splits_is_refused_by_name(corpus):
    put(fake(corpus, "Deepfakes", "000_020"))
    with pytest.raises(UserError, match="Deepfakes/000_020"):
        indexed(corpus)


def test_splits_joined_over_a_third_person_are_refused(corpus):
    put(fake(corpus, "Deepfakes", "000_anna"))
    put(fake(corpus, "Deepfakes", "anna_020"))
    with pytest.raises(UserError, match="'000' in training_set.*'020' in test_set"):
        indexed(corpus)


def test_lists_that_share_a_person_are_refused(corpus):
    put(corpus / "splits/test.json", '[["000", "021"]]')
    with pytest.raises(UserError, match="'000'"):
        indexed(corpus)


def test_the_same_file_in_two_splits_is_a_leak(corpus):
    put(original(corpus, "020"), "the same bytes")
    put(original(corpus, "000"), "the same bytes")
    with pytest.raises(UserError, match=r"training_set \(Original/000\)|test_set \(Original/020\)"):
        indexed(corpus)


def test_a_person_in_two_splits_is_a_leak():
    def video(name, split):
        return Video(f"Original/{name}", "Original", 0, split, ("anna",), f"{name}.mp4", "", name, "DEMO")

    check_leaks([video("one", "test_set"), video("two", "test_set")])
    with pytest.raises(UserError, match="'anna'"):
        check_leaks([video("one", "test_set"), video("two", "training_set")])


@pytest.mark.parametrize("there", ["", "clips"])
def test_a_tree_that_is_none_is_told_what_was_looked_for_and_what_is_there(tmp_path, there):
    data = tmp_path / "videos"
    (data / there).mkdir(parents=True)
    with pytest.raises(UserError, match=f"original_sequences.*{there or 'nothing'}") as error:
        indexed(data)
    assert "\n" not in str(error.value)


def test_the_command_writes_the_index_and_prints_the_table(corpus, tmp_path):
    here = project(tmp_path / "project")
    done = run_script(here, "index_videos", "--data_path", str(corpus), "--dataset", "FACEFORENSICS")
    assert done.returncode == 0, done.stderr
    assert read_index(here / "data/index/videos.csv") == index_of(corpus, "FACEFORENSICS", "c23")
    assert [line.split() for line in done.stdout.splitlines()][-1] == ["all", "4", "4", "4", "5"]


def test_paths_of_the_index_are_relative_to_the_project(corpus, tmp_path):
    here = project(tmp_path / "project")
    corpus.rename(here / "mine")
    done = run_script(here / "mine", "index_videos", "--data_path", ".")
    assert done.returncode == 0, done.stderr
    text = files_of(here)["data/index/videos.csv"].decode()
    assert "mine/original_sequences/youtube/c23/videos/000.mp4" in text
    assert str(tmp_path) not in text


def test_a_wrong_folder_ends_the_command_in_one_line(tmp_path):
    here = project(tmp_path / "project")
    done = run_script(here, "index_videos", "--data_path", "nowhere")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
