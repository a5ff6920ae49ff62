#!/bin/bash
#SBATCH --job-name=biomedjourney
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --gpus-per-node=4
#SBATCH --cpus-per-task=32
#SBATCH --time=24:00:00
#SBATCH --signal=TERM@300
#SBATCH --requeue
# Trains on two machines of four GPUs; SIGTERM comes five minutes before the time limit, and the requeued job resumes.
first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
srun torchrun --nnodes "$SLURM_NNODES" --nproc_per_node 4 --rdzv_backend c10d --rdzv_endpoint "$first:29500" \
    -m monai.bundle run training --dataset_dir /shared/work --batch_size 4 \
    --config_file "['bundle/configs/train.yaml','bundle/configs/sd15.yaml','bundle/configs/multi_gpu.yaml']"
