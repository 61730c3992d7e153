#!/bin/bash
# One model on the GPUs of one node, which share each batch: the run is that of one GPU, but for
# rounding. Four processes of a batch of 512 have 128 examples each:
#
#     sbatch scripts/slurm/one_node.sh unet --num-epochs 20 --batch-size 512
#
# Another number of GPUs: sbatch --gres=gpu:8 scripts/slurm/one_node.sh …
#SBATCH --job-name=one-node
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gres=gpu:4
#SBATCH --cpus-per-task=16
#SBATCH --mem=64G
#SBATCH --time=01:00:00
#SBATCH --signal=B:USR1@120
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output=%x-%j.log

source scripts/slurm/job.sh || exit
train "$RUNS/one-node-$SLURM_JOB_ID" "$@"
