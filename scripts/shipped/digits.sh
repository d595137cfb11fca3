#!/usr/bin/env bash
# Train the network `digits` and put it into the package: scripts/shipped/digits.sh mnist.npz. 7 minutes on one core.
set -euo pipefail
cd "$(dirname "$0")"
blockprop train "$1" --network stages:16,32,48,64 --epochs 15 --batch-size 128 --rate 0.1 --weight-decay 5e-4 \
    --schedule one_cycle --label-smoothing 0.05 --augment shift:2,rotate:10,zoom:0.1 --average 0.999 \
    --validation-fraction 0.05 --seed 0 --out digits.safetensors --log digits.csv
python pack.py digits digits.safetensors "$1"
