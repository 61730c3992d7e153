#!/bin/bash
# One model on one GPU, in as many jobs as it takes. From the root of the repository:
#
#     sbatch scripts/slurm/one_gpu.sh mlp-vae --num-epochs 100 --recipe lecture
#
# What follows the name of the script is for `python -m genmodels.training`, which see.
#SBATCH --job-name=one-gpu
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=4
#SBATCH --mem=16G
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

source scripts/slurm/job.sh || exit
train "$RUNS/one-gpu-$SLURM_JOB_ID" "$@"
