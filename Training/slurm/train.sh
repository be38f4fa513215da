#!/bin/bash
# Train on one node or many: sbatch [--nodes=2] Training/slurm/train.sh RECIPE.yaml [--set key=value ...]
# A job stopped by its time limit or its node resumes from the last checkpoint when it is requeued. Put `output`,
# `data.folder` and `data.cache` on a file system that all nodes share, and run prepare.sh first.
#SBATCH --job-name=spr-train
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log
set -euo pipefail

first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | sed -n 1p)
processes=${SLURM_GPUS_ON_NODE:-1}
export OMP_NUM_THREADS=$(( (SLURM_CPUS_PER_TASK + processes - 1) / processes ))

srun --kill-on-bad-exit=1 torchrun \
  --nnodes="$SLURM_JOB_NUM_NODES" --nproc-per-node="$processes" \
  --rdzv-id="$SLURM_JOB_ID" --rdzv-backend=c10d --rdzv-endpoint="$first:${PORT:-29500}" \
  -m SPRCore.cli train "$@" --resume
