#!/bin/bash
# One model on the GPUs of several nodes, which share each batch. One torchrun on each node starts a
# process for each of its GPUs; they meet at the first node.
#
#     sbatch --nodes=4 scripts/slurm/several_nodes.sh unet --num-epochs 20 --batch-size 2048
#SBATCH --job-name=several-nodes
#SBATCH --nodes=2
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
train "$RUNS/several-nodes-$SLURM_JOB_ID" "$@"
