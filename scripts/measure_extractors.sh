#!/usr/bin/env bash
# Record, annotate and measure what docs/results/masks.md and docs/results/probe.md tell. Goes on where it stopped:
# data sets that are there are kept, and rows that are in the files are not measured again.
set -euo pipefail
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=1

record() { # FOLDER TASK SIZE SEED, then what differs; nothing where it was recorded to the end before
  local folder=$1 task=$2 size=$3 seed=$4 name
  shift 4
  name="$folder.$(echo "$@" | tr -c 'a-z0-9\n' '-')"
  [ -e "$name" ] && return
  worldrl collect "out=$folder" "env.id=worldrl/$task-v0" "env.kwargs.size=$size" "seed=$seed" "$@"
  touch "$name"
}

for seed in 0 1 2; do
  for task in Push PickPlace; do
    data=runs/masks/$task-$seed probed=runs/probe/$task-$seed
    mkdir -p runs/masks runs/probe
    record "$data" $task 126 $seed policy=noisy_expert episodes=12
    record "$data" $task 126 $seed policy=expert episodes=11 skip=12
    [ -e "$data-annotations" ] || worldrl annotate "episodes=$data" "out=$data-annotations" shots=3 seed=$seed
    measure=(worldrl masks "episodes=$data" "annotations=$data-annotations" seed=$seed threads=1 out=docs/results/masks.json)
    "${measure[@]}" features=runs/masks/cache
    "${measure[@]}" encoder=none method=tracks held_out=4
    "${measure[@]}" encoder=none method=mobilesam held_out=4
    "${measure[@]}" encoder=none method=mobilesam hints=false held_out=4
    record "$probed" $task 112 $seed policy=noisy_expert episodes=60
    record "$probed" $task 112 $seed policy=noisy_expert episodes=140 skip=60
    worldrl probe "episodes=$probed" seed=$seed threads=1 features=runs/probe/cache out=docs/results/probe.json
  done
done
