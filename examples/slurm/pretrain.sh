#!/usr/bin/env bash
# Pretraining on one or several machines of a SLURM cluster. Before its time is over, SLURM tells the run, which saves and
# leaves; the job then queues itself again and goes on until the model is there (docs/adr/0004-exact-runs.md).
#
#   sbatch examples/slurm/pretrain.sh runs/pretrain --config configs/pretrain-8gpu.yaml \
#     --data.tokens '[tokens/a]' --data.samples '[shards/a]' --data.tokenizers tokenizers
#
# Change the lines below to what the cluster has: nodes x GPUs must divide loop.batches_per_step (16).
#SBATCH --job-name=neuroleon
#SBATCH --nodes=1
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=8
#SBATCH --cpus-per-task=96
#SBATCH --time=12:00:00
#SBATCH --signal=TERM@180
#SBATCH --requeue
#SBATCH --output=slurm-%j.log
#SBATCH --open-mode=append
set -uo pipefail

out=${1:?give the run folder, then the settings of train.py pretrain}
shift
newest() { ls -t "$out/checkpoints" 2>/dev/null | head -1; }
before=$(newest)
head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -1)

# srun, not accelerate launch: that one does not pass SIGTERM on, and leaves its processes behind. Half a minute is not
# enough to save a large model: the time-out is what --signal leaves.
srun torchrun --shutdown-timeout 150 --nnodes "$SLURM_NNODES" --nproc_per_node "${SLURM_GPUS_ON_NODE:-1}" \
    --rdzv_id "$SLURM_JOB_ID" --rdzv_backend c10d --rdzv_endpoint "$head_node:29500" \
    train.py pretrain "$@" --out "$out" --resume auto

if [ -d "$out/final" ]; then
    echo "done: $out/final"
elif [ "$(newest)" != "$before" ]; then
    scontrol requeue "$SLURM_JOB_ID" # it got further, so it is worth another turn
else
    echo "no checkpoint came: not queued again, see above" >&2
    exit 1
fi
