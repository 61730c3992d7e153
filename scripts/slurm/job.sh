# shellcheck shell=bash
# What the scripts beside this one share; each reads it, in the root of the repository.

# What differs between sites. Account and partition are options of sbatch, or SBATCH_ACCOUNT and
# SBATCH_PARTITION in the shell that submits.
MODULES=""                             # to load, such as "gcc/13 cuda/12.8"
PYTHON=.venv/bin/python                # of the environment that has the package
# shellcheck disable=SC2034
RUNS=runs                              # checkpoints: a folder that all nodes see
PORT=$((20000 + SLURM_JOB_ID % 10000)) # of the first node, where the processes meet
# export GENMODELS_DATA=/path/to/mnist.npz  # where the nodes do not see ~/.cache
# export NCCL_SOCKET_IFNAME=ib0 GLOO_SOCKET_IFNAME=ib0  # if nodes choose the wrong network

set -u
for module in $MODULES; do module load "$module"; done
# Of several nodes, each counts its restarts for itself: a new store for every one.
export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1
# In an array, the number alone may mean all of it.
job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}
job=${job:-$SLURM_JOB_ID}

# steps_in FOLDER: how many steps its checkpoint has; 0 if there is none.
steps_in() {
    steps=$(sed -n 's/^ "num_steps": \([0-9]*\),*$/\1/p' "$1/checkpoint.json" 2> /dev/null)
    echo "${steps:-0}"
}

# train FOLDER ARGUMENTS…: `python -m genmodels.training ARGUMENTS…` in one process for each GPU of
# the job. It goes on from the checkpoint in FOLDER, and does so up to three times after a process
# has died. The exit status is 0 if the run came to its end.
train() {
    folder=$1
    shift
    steps_before=$(steps_in "$folder")
    # Two minutes before the time is up Slurm sends USR1 to this shell (#SBATCH --signal). Every
    # torchrun is then sent what Ctrl-C sends: all processes stop after the same step. (Where Slurm
    # signals their children too, these stop at once; the last 100 steps may be lost.)
    time_is_up=
    trap 'time_is_up=yes; scancel --signal=INT "$job.0"' USR1
    # One torchrun on each node; the processes that it starts meet at the first one.
    srun --kill-on-bad-exit=0 --cpus-per-task="${SLURM_CPUS_PER_TASK:-1}" \
        "$PYTHON" -m torch.distributed.run \
        --nnodes="$SLURM_NNODES" --nproc-per-node="${SLURM_GPUS_ON_NODE:-1}" --max-restarts=3 \
        --rdzv-backend=c10d --rdzv-id="$job" \
        --rdzv-endpoint="$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1):$PORT" \
        -m genmodels.training "$@" --checkpoint "$folder" --no-progress &
    wait $!
    status=$?
    if [ -n "$time_is_up" ]; then # USR1 has ended the waiting, but not what it was for
        wait $!
        status=$?
    fi
    if [ $status = 0 ] || [ -z "$time_is_up" ]; then return $status; fi
    if [ "$(steps_in "$folder")" = "$steps_before" ]; then
        echo "No step was made before the time was up: not queued again, --time must be longer." >&2
        return $status
    fi
    echo "The time is up, after step $(steps_in "$folder"): queued again."
    scontrol requeue "$job"
}
