#!/usr/bin/env bash
# Train the network `pictures` and put it into the package: scripts/shipped/pictures.sh FOLDER
# FOLDER: train and test, in each a folder of pictures for each of the ten classes. 65 minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")"
common=(--batch-size 128 --weight-decay 5e-4 --schedule one_cycle --label-smoothing 0.1 --average 0.999
    --validation-fraction 0.05 --seed 0)
blockprop train "$1" --network stages:48,96,144,192,224 --epochs 64 --rate 0.1 \
    --augment flip,shift:4,color:0.2,cutout:8 --out first.safetensors --log pictures_first.csv "${common[@]}"
blockprop train "$1" --network first.safetensors --epochs 28 --rate 0.05 \
    --augment flip,shift:4,color:0.3,cutout:16 --out pictures.safetensors --log pictures_second.csv "${common[@]}"
python pack.py pictures pictures.safetensors "$1"
