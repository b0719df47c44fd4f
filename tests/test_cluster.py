"""The scripts of BWCluster/: what they would submit, and what becomes of it on a real SLURM of a few made-up nodes.

Where SLURM is not installed, the tests that need it are skipped.
"""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
from conftest import STAGES, Project
from little_crops import project_of_crops
from little_dag import TINY, dag, repro
from little_slurm import command_output, is_installed, little_slurm, wait_until

from explain_deepfakes.BWCluster.jobs import plan_jobs
from explain_deepfakes.BWCluster.slurm.cluster import SlurmJob, read_cluster, submit
from explain_deepfakes.pipeline.project import CODE

SCRIPTS = CODE / "BWCluster"
TRAIN = "model_test_train/train_model.py"
IN_A_MOUNT = ("unshare", "--map-root-user", "--mount", "sh", "-c")
can_mount = subprocess.run([*IN_A_MOUNT, "mount -t tmpfs none /mnt"], capture_output=True, check=False).returncode == 0
TOGETHER = TINY | {
    "train": {"num_epochs": 2, "patience": 2, "workers": 1, "devices": 2, "save_seconds": 0, "threads": 1, "tensorboard": False}
}
ALL = {"partition": None, "account": None, "hours": 0.5, "cpus": 1, "memory_gb": 4, "gpus": 0, "nodes": 1}
REST = {"seconds_to_end": 20, "options": []}


def cluster_yaml(folder: Path, **sections: Any) -> Path:
    path = folder / "cluster.yaml"
    path.write_text(yaml.safe_dump({"setup": [], "all": {**ALL, **REST}, **sections}))
    return path


def start(script: str, *flags: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = ["bash", str(SCRIPTS / script), *map(str, flags)]
    told = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"} | environment
    return subprocess.run(command, cwd=cwd, env=os.environ | told, capture_output=True, text=True, check=False)


# Without SLURM


@pytest.fixture
def project(tmp_path: Path) -> Path:
    return Project(tmp_path / "project", {}).folder


def test_a_dry_run_prints_a_job_for_each_part_and_a_merge_and_submits_nothing(project: Path) -> None:
    done = start("preprocess.sh", "--dry-run", "--shards", 6, "--frames", 3, cwd=project)
    assert done.returncode == 0, done.stderr
    shard, merge = done.stdout.split("# merge, after shard")
    assert "#SBATCH --array=1-6\n" in shard
    assert re.search(r'preprocess\.py --frames 3 --shard "\$SLURM_ARRAY_TASK_ID/6"$', shard, re.MULTILINE)
    assert re.search(r"preprocess\.py --frames 3$", merge, re.MULTILINE)
    assert not (project / "logs").exists()


def test_options_of_a_section_are_added_to_those_of_all(project: Path) -> None:
    there = cluster_yaml(project, train={"options": ["--qos=long"]})
    there.write_text(there.read_text().replace("options: []", "options: [--constraint=a100]", 1))
    scripts = start("repro.sh", "--cluster", there, "--dry-run", cwd=project).stdout.split("# train, after merge")
    assert ["--qos=long" in script for script in scripts] == [False, True]
    assert all("--constraint=a100" in script for script in scripts)


def test_the_whole_dag_is_jobs_of_which_each_waits_for_the_one_before(project: Path) -> None:
    done = start("repro.sh", "--dry-run", cwd=project)
    order = ["index", "shard", "merge", "train", "test", "explain", "report"]
    names = re.findall(r"^# (\w+)(?:, after (\w+))?$", done.stdout, re.MULTILINE)
    assert names == [*zip(order, ["", *order[:-1]], strict=True)]


def test_what_the_yaml_asks_for_is_what_the_job_asks_for(project: Path) -> None:
    there = cluster_yaml(
        project, setup=["module load torch"], train={"hours": 1.5, "gpus": 2, "nodes": 3, "options": ["--qos=long"]}
    )
    told = start("train_model.sh", "--cluster", there, "--dry-run", "--config", "my net.yaml", cwd=project).stdout
    options = re.findall("^#SBATCH (.*)$", told, re.MULTILINE)
    assert {"--time=90", "--gres=gpu:2", "--nodes=3", "--qos=long", "--requeue", "--signal=B:USR1@20", "--mem=4G"} <= {*options}
    assert told.index("module load torch") < told.index("train_model.py --config 'my net.yaml'")
    assert f"\ncd {project}" in told  # flags that are paths are relative to where one stands


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"trian": {"hours": 3}}, "cluster.yaml: trian is not a section; available: all, setup, index, shard"),
        ({"train": {"gpu": 1}}, "cluster.yaml: train.gpu is not a setting; available: partition, account, hours"),
        ({"train": {"gpus": "two"}}, "cluster.yaml: train.gpus is 'two'; it must be an integer"),
        ({"all": {"hours": 1}}, "cluster.yaml: all.account is missing"),
        ({"setup": "module load x"}, "cluster.yaml: setup must be a list of shell commands"),
        ({"shard": 4}, "cluster.yaml: shard must contain 'key: value' lines"),
    ],
)
def test_a_mistake_in_the_yaml_ends_in_one_line_that_names_it(project: Path, sections: dict[str, Any], told: str) -> None:
    done = start("train_model.sh", "--cluster", cluster_yaml(project, **sections), "--dry-run", cwd=project)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("script", "flags", "told"),
    [
        ("train_model.sh", [], "there is no sbatch on the PATH"),
        ("preprocess.sh", ["--shard", "2/4"], "--shard is set for each job automatically; set the number"),
        ("preprocess.sh", ["--shards", "0"], "--shards is 0; the minimum is 1"),
        ("repro.sh", ["--config", "x.yaml"], "repro reads its settings from params.yaml and does not accept --config"),
        ("test.sh", ["--cluster", "none.yaml"], "none.yaml does not exist"),
    ],
)
def test_what_cannot_be_submitted_ends_in_one_line(project: Path, script: str, flags: list[str], told: str) -> None:
    done = start(script, *flags, cwd=project, PATH=f"{Path(sys.executable).parent}:/bin/none:{bash_alone(project)}")
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"error: {told}")
    assert done.stderr.count("\n") == 1


def bash_alone(folder: Path) -> Path:
    """A folder of programs with no sbatch among them."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("bash", "dirname", "uname"):  # the last is called when an environment of Python 3.13 is activated
        (programs / name).symlink_to(shutil.which(name) or name)
    return programs


IN_JOB = [sys.executable, str(SCRIPTS / "in_job.py"), "--logs", "."]


def test_why_a_job_failed_is_in_the_file_that_tells_of_all(tmp_path: Path) -> None:
    failing = "import sys; sys.exit('error: the disk is full\\nand more')"
    command = [*IN_JOB, "--name", "shard", "--kind", "shard", "--", sys.executable, "-c", failing]
    told = {"SLURM_ARRAY_TASK_ID": "2", "SLURM_ARRAY_TASK_COUNT": "4", "SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n7"}
    assert subprocess.run(command, cwd=tmp_path, env=os.environ | told, check=False).returncode == 1
    line = "shard-2-of-4, job 17 on n7: the disk is full. More is in shard-2-of-4.log\n"
    assert (tmp_path / "failures.txt").read_text() == line


def test_without_the_gpus_that_it_asked_for_a_job_does_not_begin(tmp_path: Path) -> None:
    command = [*IN_JOB, "--name", "train", "--kind", "train", "--gpus", "99", "--", "touch", "begun"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 2
    assert "the job requested 99 GPU(s), but torch finds" in (tmp_path / "failures.txt").read_text()
    assert not (tmp_path / "begun").exists()


def test_nothing_that_a_job_left_behind_outlives_it(tmp_path: Path) -> None:
    leaving = "import subprocess as s; print(s.Popen(['sleep', '60'], stdout=s.DEVNULL, stderr=s.DEVNULL).pid)"
    command = [*IN_JOB, "--name", "train", "--kind", "train", "--", sys.executable, "-c", leaving]
    done = subprocess.run(command, cwd=tmp_path, stdout=subprocess.PIPE, check=True)
    with suppress(psutil.NoSuchProcess):
        psutil.Process(int(done.stdout)).wait(20)


# With SLURM


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    if not is_installed:
        pytest.skip("SLURM is not installed")
    with little_slurm(tmp_path_factory.mktemp("slurm")):
        yield


def wait_for_jobs(seconds: float = 600) -> None:
    wait_until(lambda: not command_output("squeue", "-h"), f"still there: {command_output('squeue')}", seconds)


def logs_of(folder: Path, what: str) -> Path:
    (logs,) = (folder / "logs").glob(f"*-{what}")
    return logs


def told_in(logs: Path) -> str:
    return "\n".join(f"{path.name}: {path.read_text()}" for path in sorted(logs.glob("*.log")) + sorted(logs.glob("*.txt")))


@pytest.fixture(scope="module")
def undisturbed(slurm: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the stages leave without SLURM."""
    project = Project(tmp_path_factory.mktemp("undisturbed"), TOGETHER)
    for script in STAGES:
        if script != TRAIN:
            project.stage(script)
        else:  # in a process of its own, since it starts others
            subprocess.run([sys.executable, str(CODE / TRAIN)], cwd=project.folder, check=True, capture_output=True)
    return project.folder


@pytest.fixture(scope="module")
def done_by_jobs(undisturbed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The DAG as jobs: training on two nodes, requeued in the middle of an epoch."""
    folder = dag(tmp_path_factory.mktemp("by_jobs"), TOGETHER).folder
    shutil.copytree(undisturbed / "data/videos", folder / "data/videos")  # drawing them again would only take time
    there = cluster_yaml(folder, train={"nodes": 2})
    submitted = start("repro.sh", "--cluster", there, "--shards", 2, cwd=folder)
    assert submitted.returncode == 0, submitted.stderr
    numbers = dict(re.findall(r"^(\w+) +job (\d+)", submitted.stdout, re.MULTILINE))
    wait_until(
        lambda: list((folder / "data/runs").glob("*/state.pt")) or not command_output("squeue", "-h"), "no training", 600
    )
    print(command_output("scontrol", "requeue", numbers["train"]))
    wait_for_jobs()
    print(submitted.stdout, told_in(logs_of(folder, "repro")))
    return folder


def test_the_dag_as_jobs_leaves_the_bytes_of_the_dag_without_them(undisturbed: Path, done_by_jobs: Path) -> None:
    for folder in ("data/index", "data/boxes", "data/crops", "data/masks", "data/models", "results"):
        assert files(done_by_jobs / folder) == files(undisturbed / folder), folder
    assert not (logs_of(done_by_jobs, "repro") / "failures.txt").exists()


def test_training_that_was_requeued_saved_within_the_epoch_and_went_on_from_there(done_by_jobs: Path) -> None:
    told = (logs_of(done_by_jobs, "repro") / "train.log").read_text()
    ((epoch, step),) = re.findall(r"received SIGTERM: saved after epoch (\d+), step (\d+)", told)
    assert int(step) > 0
    assert f"resumed after epoch {epoch}, step {step}" in told
    assert told.count("Running stage 'train'") == 2


def test_dvc_takes_what_jobs_did_as_done(done_by_jobs: Path) -> None:
    told, _ = repro(done_by_jobs).communicate()
    assert "Running stage" not in told
    assert "up to date" in told


def submitted(folder: Path, *jobs: SlurmJob, **sections: Any) -> tuple[dict[str, str], Path]:
    """Their numbers, and where they tell how they are."""
    logs = folder / "logs"
    return submit(jobs, read_cluster(cluster_yaml(folder, **sections)), logs), logs


def test_a_part_that_never_ends_is_ended_and_named_and_no_merge_runs(slurm: None, tmp_path: Path) -> None:
    command = "sh -c 'test $0 = 1 && touch done || sleep 900' $SLURM_ARRAY_TASK_ID"
    shard = SlurmJob("shard", "shard", command, None, 2, tmp_path)
    merge = SlurmJob("merge", "merge", "touch merged", after="shard", folder=tmp_path)
    numbers, logs = submitted(tmp_path, shard, merge, shard={"hours": 0.03, "seconds_to_end": 60})
    wait_until(lambda: not command_output("squeue", "-h", "-j", ",".join(numbers.values())), "it does not end", 200)
    (line,) = (logs / "failures.txt").read_text().splitlines()
    assert line.startswith("shard-2-of-2, job ")
    assert "time limit reached, terminating. Finished work is kept: raise shard.hours" in line
    assert "TimeLimit" not in line
    assert (tmp_path / "done").exists()
    assert not (tmp_path / "merged").exists()
    assert "JobState=CANCELLED" in command_output("scontrol", "show", "job", numbers["merge"])


def test_a_node_whose_disk_is_full_is_named_and_no_merge_runs(slurm: None, undisturbed: Path, tmp_path: Path) -> None:
    if not can_mount:
        pytest.skip("this user may not mount a small disk")
    project = Project(tmp_path / "project", TOGETHER).folder
    for name in ("index", "videos"):
        shutil.copytree(undisturbed / "data" / name, project / "data" / name)
    (project / "data/crops").mkdir()
    small = "unshare --map-root-user --mount sh -c 'mount -t tmpfs -o size=64k none data/crops && exec \"$@\"' sh "
    jobs = [SlurmJob(**{**vars(job), "command": small + job.command}) for job in plan_jobs("preprocess", 2, [])]
    numbers, logs = submitted(project, *(SlurmJob(**{**vars(job), "folder": project}) for job in jobs))
    wait_until(lambda: not command_output("squeue", "-h", "-j", ",".join(numbers.values())), "it does not end", 200)
    lines = (logs / "failures.txt").read_text().splitlines()
    assert lines
    for line in lines:
        assert re.match(r"shard-[12]-of-2, job \d+ on n[12]: No space left on device", line)
    assert not (logs / "merge.log").exists()
    assert "JobState=CANCELLED" in command_output("scontrol", "show", "job", numbers["merge"])


@pytest.mark.parametrize(
    ("sections", "told"),
    [
        ({"merge": {"partition": "nights"}}, "there is no partition 'nights' for merge; available: gpus, main. It is set in"),
        ({"merge": {"gpus": 1}}, "merge requests gpus: 1 on each node, but nodes have gpu:1 in gpus. It is set in"),
        ({"merge": {"memory_gb": 9000}}, "sbatch rejects merge: "),
    ],
)
def test_what_the_cluster_has_not_is_said_at_once_and_nothing_is_left_waiting(
    slurm: None, project: Path, sections: dict[str, Any], told: str
) -> None:
    done = start("preprocess.sh", "--cluster", cluster_yaml(project, **sections), cwd=project)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {told}"), done.stderr
    assert "cluster.yaml: merge (or all)" in done.stderr
    assert done.stderr.count("\n") == 1
    wait_until(lambda: not command_output("squeue", "-h"), "a job was left behind")


def test_a_node_whose_gpu_torch_does_not_find_is_named(slurm: None, project: Path) -> None:
    there = cluster_yaml(project, train={"gpus": 1, "partition": "gpus"})
    assert start("train_model.sh", "--cluster", there, cwd=project).returncode == 0
    wait_for_jobs()
    told = (logs_of(project, "train") / "failures.txt").read_text()
    assert re.match(r"train, job \d+ on with_gpu: the job requested 1 GPU\(s\), but torch finds 0", told)


def test_training_whose_time_is_over_saves_is_submitted_anew_and_ends_with_the_same_bits(slurm: None, tmp_path: Path) -> None:
    settings = {"num_epochs": 6, "patience": 6, "save_seconds": 1000, "workers": 1}
    folder, alone = (project_of_crops(tmp_path / name, 4, 9, {}, settings) for name in ("by_job", "alone"))
    subprocess.run([sys.executable, str(CODE / TRAIN)], cwd=alone, check=True, capture_output=True)
    config = folder / "tiny.yaml"
    done = start("train_model.sh", "--cluster", cluster_yaml(folder), "--config", config.name, cwd=folder)
    assert done.returncode == 0, done.stderr
    logs = logs_of(folder, "train")
    wait_until(lambda: "\nepoch 1" in told_in(logs), "no training")
    command_output("scancel", "--batch", "--signal=USR1", re.findall(r"job (\d+)", done.stdout)[0])  # as SLURM does in time
    wait_for_jobs()
    told = told_in(logs)
    assert "time limit reached; the job is requeued" in told
    assert re.search(r"resumed after epoch \d, step [1-9]", told)
    assert not (logs / "failures.txt").exists(), told
    assert files(folder / "data/models") == files(alone / "data/models")


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_script_by_itself_leaves_what_its_stage_left(undisturbed: Path, done_by_jobs: Path) -> None:
    there, again = done_by_jobs / "cluster.yaml", done_by_jobs / "again"
    for script, *flags in (
        ("preprocess.sh", "--shards", 2, "--boxes_path", again / "boxes", "--output_path", again / "crops"),
        ("test.sh", "--output_path", again / "tests"),
        ("explain.sh", "--output_path", again / "explanation"),
    ):
        done = start(script, "--cluster", there, *flags, cwd=done_by_jobs)
        assert done.returncode == 0, done.stderr
    wait_for_jobs()
    for folder in ("data/boxes", "data/crops", "data/masks", "results/tests", "results/explanation"):
        assert files(again / Path(folder).name) == files(undisturbed / folder), folder
