#!/bin/bash
# Check and prepare the images of a recipe once, before train.sh: sbatch Training/slurm/prepare.sh RECIPE.yaml [--set ...]
#SBATCH --job-name=spr-prepare
#SBATCH --nodes=1
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=16
#SBATCH --time=12:00:00
#SBATCH --output=%x-%j.log
set -euo pipefail

export OMP_NUM_THREADS=1
srun python -m SPRCore.cli prepare "$@" --set workers="$SLURM_CPUS_PER_TASK"
