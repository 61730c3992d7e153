#!/bin/bash
# One model from several seeds, each on a GPU of its own, at once or one after another as there is
# room. The number of a job in the array is its seed:
#
#     sbatch --array=0-9 scripts/slurm/seeds.sh mlp-vae --num-epochs 100 --recipe lecture
#     grep held-out seeds-*.log
#SBATCH --job-name=seeds
#SBATCH --array=0-3
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%A-%a.log

source scripts/slurm/job.sh || exit
train "$RUNS/seeds-$SLURM_ARRAY_JOB_ID/$SLURM_ARRAY_TASK_ID" "$@" --seed "$SLURM_ARRAY_TASK_ID"
