"""The corpus made of portraits: labels and masks are correct, and only the pixels distinguish fake from real."""

import csv
import hashlib
import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from little_videos import draw_face, files_of, project

from explain_deepfakes.pipeline.errors import UserError
from explain_deepfakes.pipeline.index import FAKE, ORIGINAL, REAL
from explain_deepfakes.pipeline.ledger import Ledger
from explain_deepfakes.pipeline.params import load_params
from explain_deepfakes.preprocessing.corpus.corpus import Corpus, read_corpus
from explain_deepfakes.preprocessing.corpus.params import CorpusParams
from explain_deepfakes.preprocessing.portrait_corpus.corpus import FACES, make_portrait_videos
from explain_deepfakes.preprocessing.portrait_corpus.landmarks import LANDMARKS, FaceAlignment
from explain_deepfakes.preprocessing.portrait_corpus.manipulations import METHODS
from explain_deepfakes.preprocessing.portrait_corpus.params import PortraitVideoParams
from explain_deepfakes.preprocessing.portrait_corpus.plan import (
    MAX_ENLARGEMENT,
    MIN_VIDEO_FACE_PX,
    SWAP_GROUP,
    PersonPlan,
    people_with_faces,
    plan_corpus,
    swap_groups,
)
from explain_deepfakes.preprocessing.portrait_corpus.portraits import face_height_px, list_portraits
from explain_deepfakes.preprocessing.portrait_corpus.rendering import render_frames

WIDTH, HEIGHT = 280, 320
HELD_OUT = ("PoissonSwap", "EyeSwap")
PEOPLE = {"here": ("anna", "ben", "cleo", "dan", "eva_may"), "there": ("finn", "gus")}
TWO_PICTURES = "anna"
SECOND = "here/anna smiling.png"


def draw_portrait(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH, 3), rng.integers(90, 150), np.uint8)
    picture = draw_face(picture, WIDTH // 2 + int(rng.integers(-8, 9)), 165 + int(rng.integers(-8, 9)), half=72)
    tinted = picture * rng.uniform(0.85, 1.05, 3) + rng.normal(0, 4, picture.shape)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), tinted.clip(0, 255).astype(np.uint8)[..., ::-1])


def write_provenance(folder: Path, people: dict[str, str]) -> None:
    """Write the provenance table; `people` maps each file to its person."""
    with (folder / "provenance.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "person", "source", "licence", "credit", "sha256"))
        for name, person in people.items():
            digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            writer.writerow((name, person, name.split("/")[0], "CC0", "drawn", digest))


@pytest.fixture(scope="module")
def portraits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, people = tmp_path_factory.mktemp("portraits"), {SECOND: TWO_PICTURES}
    for source, names in PEOPLE.items():
        people |= {f"{source}/{name}.png": name for name in names}
    for seed, name in enumerate(people):
        draw_portrait(folder / name, seed)
    cv2.imwrite(str(folder / "here/wall.png"), np.full((HEIGHT, WIDTH, 3), 120, np.uint8))
    (folder / "here/broken.png").write_bytes(b"no picture")
    write_provenance(folder, {**people, "here/wall.png": "wall", "here/broken.png": "broken"})
    return folder


def settings(portraits: Path, **changes: object) -> PortraitVideoParams:
    small = {
        "portraits": (portraits,),
        "frames": 3,
        "heights": (160, 200),
        "fakes_per_person": 0,
        "holdout_methods": HELD_OUT,
        "holdout_sources": ("there",),
        "val_share": 0.4,
        "test_share": 0,
        "train_crf": (18, 25),
        "test_crf": (32, 36),
        "twice_share": 0.5,
        "max_failed_fraction": 0.3,
        "workers": 1,
    }
    return load_params("make_portrait_videos", PortraitVideoParams, {**small, **changes})


@pytest.fixture(scope="module")
def corpus(portraits: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("corpus")
    make_portrait_videos(out, settings(portraits))
    return out


def recipes_of(corpus: Path, params: PortraitVideoParams) -> list[PersonPlan]:
    """Plan the corpus as the command does, from the detected faces."""
    listed, _ = list_portraits(params.folder)
    return plan_corpus(people_with_faces(listed, dict(Ledger(corpus / FACES).entries)), params)


def indexed(corpus: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Corpus:
    monkeypatch.chdir(project(folder))
    return read_corpus(load_params("index_videos", CorpusParams, {"data_path": corpus, "dataset": "AUTO", "workers": 1}))


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def facts_of(path: Path) -> tuple:
    """Return everything but the pixels that could distinguish the file."""
    with av.open(str(path)) as video:
        stream = video.streams.video[0]
        codec = stream.codec_context
        shape = codec.width, codec.height, codec.pix_fmt, codec.profile
        metadata = dict(video.metadata), dict(stream.metadata)
        encoder = path.read_bytes().partition(b"options: ")[2].partition(b"\x80")[0][:600]
        return codec.name, *shape, stream.frames, stream.average_rate, stream.duration, metadata, encoder


def original(corpus: Path, id: str) -> Path:
    return corpus / f"original_sequences/youtube/c23/videos/{id}.mp4"


def fakes_in(corpus: Path) -> list[Path]:
    return sorted(corpus.glob("manipulated_sequences/*/c23/videos/*.mp4"))


def test_the_index_has_the_labels_people_splits_and_masks(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    indexed_corpus = indexed(corpus, tmp_path, monkeypatch)
    assert {video.dataset for video in indexed_corpus.videos} == {"PORTRAITS"}
    assert not indexed_corpus.leaks
    assert not indexed_corpus.missing
    assert not indexed_corpus.tree.problems
    assert Counter(video.method for video in indexed_corpus.videos)[ORIGINAL] == 7
    assert {video.method for video in indexed_corpus.videos} == {ORIGINAL, *METHODS}
    split_of = {row["id"]: row["split"] for row in rows_of(corpus / "portraits.csv")}
    names = {"train": "training_set", "val": "validation_set", "test": "test_set"}
    for video in indexed_corpus.videos:
        assert video.label == (REAL if video.method == ORIGINAL else FAKE)
        assert {names[split_of[person]] for person in video.identities} == {video.split}
        if video.label == FAKE:
            assert video.made_from == tuple(f"{ORIGINAL}/{person}" for person in video.identities)
            assert Path(video.mask).is_file()
            assert len(set(video.identities)) == (2 if METHODS[video.method].swaps_people else 1)


def test_held_out_methods_and_sources_are_in_the_test_set_only(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    videos = indexed(corpus, tmp_path, monkeypatch).videos
    splits = {method: {video.split for video in videos if video.method == method} for method in METHODS}
    assert all(splits[method] == {"test_set"} for method in HELD_OUT)
    assert all(len(splits[method]) == 3 for method in METHODS if method not in HELD_OUT)
    assert {person for video in videos if video.split == "test_set" for person in video.identities} == set(PEOPLE["there"])


def test_each_split_has_its_own_range_of_compression(corpus: Path) -> None:
    for row in rows_of(corpus / "portraits.csv"):
        for encoding in row["encodings"].split(", "):
            crf = int(encoding.split()[2])
            assert (32 <= crf <= 36) if row["split"] == "test" else 18 <= crf <= 31


def test_two_pictures_of_a_person_are_one_person(corpus: Path) -> None:
    rows = {row["person"]: row for row in rows_of(corpus / "portraits.csv")}
    assert len(rows) == 7
    # A smiling picture sorts first; the other one lends its expression.
    assert {rows[TWO_PICTURES]["file"], rows[TWO_PICTURES]["second_file"]} == {SECOND, "here/anna.png"}
    assert rows["eva_may"]["id"] == "eva-may"
    assert rows["finn"]["licence"] == "CC0"


def test_portraits_without_a_face_and_broken_files_are_reported(corpus: Path) -> None:
    reasons = {row["file"]: row["reason"] for row in rows_of(corpus / "failures.csv")}
    assert reasons == {"here/broken.png": "it cannot be read as a picture", "here/wall.png": "no face was found in it"}


def test_a_fake_is_its_original_outside_of_the_mask_and_differs_within(corpus: Path, portraits: Path) -> None:
    for plan in recipes_of(corpus, settings(portraits, holdout_methods=())):
        for pictures in render_frames(plan, plan.files, portraits, 0, 3):
            for fake in plan.fakes:
                difference = (pictures[plan.fake(fake)] != pictures[plan.original]).any(-1)
                mask = pictures[plan.fake(fake, "masks")] > 127
                assert not difference[~mask].any(), fake.method
                assert difference[mask].mean() > 0.6, fake.method
                assert 0.005 < mask.mean() < 0.5, fake.method


def test_an_encoded_mask_marks_what_was_changed(corpus: Path, portraits: Path) -> None:
    plan = recipes_of(corpus, settings(portraits))[0]
    last = plan.encodings[-1]
    drawn = list(render_frames(plan, plan.files, portraits, 0, 3))
    for fake in plan.fakes:
        name = plan.fake(fake, "masks")
        with av.open(str(corpus / name)) as video:
            read = [frame.to_ndarray(format="gray") > 127 for frame in video.decode(video=0)]
        for mask, pictures in zip(read, drawn, strict=True):
            expected_mask = cv2.resize(pictures[name], (last.width, last.height), interpolation=cv2.INTER_AREA) > 127
            assert (mask & expected_mask).sum() / (mask | expected_mask).sum() > 0.95


def test_real_and_fake_differ_in_nothing_but_their_pixels(corpus: Path) -> None:
    sizes = {}
    for fake in fakes_in(corpus):
        target = fake.stem.split("_")[0]
        assert facts_of(fake) == facts_of(original(corpus, target))
        sizes[target] = facts_of(fake)[:3]
    assert len(set(sizes.values())) > 1


def test_no_face_is_enlarged_much_or_too_small(corpus: Path, portraits: Path) -> None:
    for seed in range(20):
        for plan in recipes_of(corpus, settings(portraits, seed=seed, heights=(240, 480, 720))):
            last = plan.encodings[-1]
            scale = plan.framing.scale * last.height / plan.framing.height
            assert plan.framing.scale <= MAX_ENLARGEMENT
            assert face_height_px(plan.picture.alignment) * scale > 0.95 * MIN_VIDEO_FACE_PX
            assert last.width % 2 == last.height % 2 == 0


def test_the_face_is_found_in_the_videos_where_the_mask_is(corpus: Path) -> None:
    from explain_deepfakes.preprocessing.faces.mtcnn import MtcnnDetector

    detector = MtcnnDetector((0.6, 0.7, 0.7), "cpu")
    for mask_path in sorted(corpus.glob("manipulated_sequences/AlphaSwap/masks/videos/*.mp4"))[:3]:
        with av.open(str(mask_path)) as masks, av.open(str(mask_path).replace("masks", "c23")) as videos:
            mask = next(masks.decode(video=0)).to_ndarray(format="gray") > 127
            (faces,) = detector.detect([next(videos.decode(video=0)).to_ndarray(format="rgb24")])
        left, top, right, bottom = faces[0].box
        rows, columns = np.nonzero(mask)
        assert left < columns.mean() < right
        assert top < rows.mean() < bottom


def test_the_same_settings_give_the_same_bytes(corpus: Path, portraits: Path, tmp_path: Path) -> None:
    make_portrait_videos(tmp_path, settings(portraits, workers=2))
    assert files_of(tmp_path) == files_of(corpus)


def test_an_interrupted_run_ends_as_if_it_had_not_been(corpus: Path, portraits: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    shutil.copytree(corpus, out)
    own = out / "original_sequences/youtube/c23/videos/mine.mp4"
    own.write_bytes(b"somebody's")
    (half,) = (path for path in fakes_in(out) if path.match("*AlphaSwap/*/*/finn_*"))
    half.unlink()
    half.with_name(f".{half.stem}.77.part.mp4").write_bytes(b"half")
    (out / "splits/val.json").unlink()
    kept = original(out, "anna").stat().st_mtime_ns
    make_portrait_videos(out, settings(portraits))
    assert own.read_bytes() == b"somebody's"
    assert original(out, "anna").stat().st_mtime_ns == kept
    own.unlink()
    assert files_of(out) == files_of(corpus)


def test_fewer_methods_remove_their_videos_and_nothing_else_is_made_anew(corpus: Path, portraits: Path, tmp_path: Path) -> None:
    out = tmp_path / "corpus"
    shutil.copytree(corpus, out)
    fewer = tuple(method for method in METHODS if method != "SelfBlend")
    make_portrait_videos(out, settings(portraits, methods=fewer))
    assert not (out / "manipulated_sequences/SelfBlend").exists()
    before, after = files_of(corpus), files_of(out)
    videos = {name for name in before if name.endswith(".mp4") and "SelfBlend" not in name}
    assert {name for name in after if name.endswith(".mp4")} == videos
    assert all(after[name] == before[name] for name in videos)
    assert all((out / name).stat().st_mtime_ns == (corpus / name).stat().st_mtime_ns for name in videos)


def test_a_video_that_was_not_made_here_is_not_overwritten(corpus: Path, portraits: Path, tmp_path: Path) -> None:
    own = original(tmp_path, "anna")
    own.parent.mkdir(parents=True)
    own.write_bytes(b"somebody's")
    shutil.copy(corpus / FACES, tmp_path)
    with pytest.raises(UserError, match="anna.mp4 was not made by this command"):
        make_portrait_videos(tmp_path, settings(portraits))
    assert own.read_bytes() == b"somebody's"
    assert [path.name for path in tmp_path.rglob("*.mp4")] == ["anna.mp4"]


def test_without_provenance_each_file_is_a_person_and_each_folder_a_source(portraits: Path, tmp_path: Path) -> None:
    for source, names in PEOPLE.items():
        for name in names:
            (tmp_path / source).mkdir(exist_ok=True)
            shutil.copy(portraits / source / f"{name}.png", tmp_path / source)
    listed, failures = list_portraits(tmp_path)
    assert not failures
    assert {(portrait.person, portrait.source) for portrait in listed} == {
        (f"{source}/{name}", source) for source, names in PEOPLE.items() for name in names
    }


def test_files_that_the_provenance_does_not_vouch_for_are_left_out(portraits: Path, tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        shutil.copy(portraits / "here/ben.png", tmp_path / f"{name}.png")
    write_provenance(tmp_path, {"a.png": "a", "b.png": "b"})
    (tmp_path / "a.png").write_bytes(b"another")
    (tmp_path / "b.png").unlink()
    listed, failures = list_portraits(tmp_path)
    assert not listed
    assert {failure.file for failure in failures} == {"a.png", "b.png", "c.png"}


def test_too_many_unusable_portraits_end_the_command(corpus: Path, portraits: Path, tmp_path: Path) -> None:
    shutil.copy(corpus / FACES, tmp_path)
    with pytest.raises(UserError, match="2 of 10 portraits cannot be used; the first is here/broken.png"):
        make_portrait_videos(tmp_path, settings(portraits, max_failed_fraction=0.1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"portraits": Path("nowhere")}, "which is not a folder"),
        ({"methods": ("FaceSwap",)}, "methods has 'FaceSwap'; it can have: AlphaSwap"),
        ({"holdout_methods": ("EyeSwap",), "methods": ("AlphaSwap",)}, "holdout_methods has 'EyeSwap'"),
        ({"codecs": ("vp9",)}, "codecs has 'vp9'; it can have: h264, hevc"),
        ({"train_crf": (30, 20)}, "least and the greatest"),
        ({"val_share": 0.6, "test_share": 0.6}, "more than 1 together"),
        ({"holdout_sources": ("nowhere",)}, "holdout_sources has 'nowhere'; it can have: here, there"),
    ],
)
def test_settings_that_make_no_sense_are_refused(
    corpus: Path, portraits: Path, tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    shutil.copy(corpus / FACES, tmp_path)
    with pytest.raises(UserError, match=message):
        make_portrait_videos(tmp_path, settings(**{"portraits": portraits, **changes}))  # type: ignore[arg-type]


def test_no_folder_of_portraits_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="portraits is empty; name the folder"):
        make_portrait_videos(tmp_path, load_params("make_portrait_videos", PortraitVideoParams))


def test_the_landmarks_lie_at_their_places_of_the_chart_whatever_the_face() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        points = (LANDMARKS + rng.normal(0, 0.06, (5, 2))) * 83 + 200
        frame = FaceAlignment(points.astype(np.float32))
        assert np.allclose(frame.to_chart(frame.points), LANDMARKS, atol=1e-3)
        assert np.allclose(frame.to_picture(LANDMARKS), frame.points, atol=0.1)
        around = rng.uniform(-1, 1.5, (50, 2)).astype(np.float32)
        assert np.abs(frame.to_chart(frame.to_picture(around)) - around).max() < 0.12


def test_the_splits_name_everybody_once(corpus: Path) -> None:
    listed = [
        name
        for path in sorted((corpus / "splits").glob("*.json"))
        for pair in json.loads(path.read_text())
        for name in set(pair)
    ]
    assert sorted(listed) == sorted(path.stem for path in (corpus / "original_sequences").rglob("*.mp4"))


def test_people_to_test_on_swap_faces_in_small_groups(portraits: Path, corpus: Path) -> None:
    listed, _ = list_portraits(portraits)
    few = people_with_faces(listed, dict(Ledger(corpus / FACES).entries))
    people = [replace(person, id=f"{person.id}-{copy}") for copy in range(4) for person in few]
    groups = swap_groups(people)
    assert sorted(person.id for group in groups for person in group) == sorted(person.id for person in people)
    assert all(SWAP_GROUP <= len(group) < 2 * SWAP_GROUP for group in groups)
    plans = plan_corpus(people, settings(portraits, val_share=0.0, test_share=1.0, fakes_per_person=0))
    group_of = {person.id: number for number, group in enumerate(groups) for person in group}
    swaps = [(plan.id, fake.source) for plan in plans for fake in plan.fakes if fake.source != plan.id]
    assert swaps
    assert all(group_of[target] == group_of[source] for target, source in swaps)


def test_the_table_of_people_has_size_compression_and_skin_tone(corpus: Path) -> None:
    for row in rows_of(corpus / "portraits.csv"):
        assert int(row["crf"]) == max(int(encoding.split()[2]) for encoding in row["encodings"].split(", "))
        assert MIN_VIDEO_FACE_PX - 1 <= int(row["face_px"]) <= int(row["height"])
        assert -90 <= int(row["skin_ita"]) <= 90
