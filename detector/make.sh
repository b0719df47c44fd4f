#!/usr/bin/env bash
# A folder of portraits -> the detector in this folder, and its test results. `make detector PORTRAITS=folder` calls it.
# After an interruption, the same command resumes.
set -euo pipefail
portraits=$(realpath "$1") work=data/detector
cd "$(dirname "$0")/.."

# London, PoissonSwap and EyeSwap are in the test set only. Training uses no crf above 31.
python preprocessing/make_portrait_videos.py --portraits "$portraits" --output_path $work/videos \
    --frames 8 --holdout_sources london --train_crf 18,31 --val_crf 18,40 --test_crf 18,40
python preprocessing/index_videos.py --data_path $work/videos
python preprocessing/preprocess.py --data_path $work/videos --frames 6
python model_test_train/train_model.py --config model_test_train/configs/faces.yaml --crops $work/videos \
    --output_path $work/models --num_epochs 5 --patience 5 --device cpu
cp $work/models/best.safetensors detector/faces.safetensors
python model_test_train/test_model.py --model_path detector/faces.safetensors --crops $work/videos \
    --output_path detector/tests --replace --device cpu
python model_test_train/breakdown.py --tests detector/tests --table $work/videos/portraits.csv \
    --columns source crf face_px skin_ita
