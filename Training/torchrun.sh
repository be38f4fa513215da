#!/bin/bash
# Train on the devices of one machine: Training/torchrun.sh PROCESSES RECIPE.yaml [--set key=value ...] [--resume]
# One process per GPU; without a GPU the processes share the cores.
set -euo pipefail

if [ $# -lt 2 ]; then
  echo "usage: $0 PROCESSES RECIPE.yaml [--set key=value ...] [--resume]" >&2
  exit 2
fi
processes=$1
shift
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-$(( ($(getconf _NPROCESSORS_ONLN) + processes - 1) / processes ))}
exec torchrun --standalone --nproc-per-node="$processes" -m SPRCore.cli train "$@"
