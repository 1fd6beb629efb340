#!/bin/bash
# The paper's Tables 3a and 3b (K = M = 6 … 20, and K = M + 1 for M = 8 … 19) on a Slurm cluster:
#
#     sbatch docs/table3_slurm.sh          each of 16 tasks fills in its share of every sweep
#     bash docs/table3_slurm.sh            afterwards: computes what a lost task has left, prints the tables
#
# Both may be repeated and interrupted at will: what is in the folder is not computed again. To change, by
# environment variables: where (OUT), how many starts (SEEDS), and which sweeps (PAIRS, "K,M K,M …").
#
#SBATCH --job-name=table3
#SBATCH --array=1-16
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --mem=3G
#SBATCH --time=01:00:00
#SBATCH --output=table3-%a.log

set -eu
shares=16 # the last number of --array, also when single tasks are submitted again
seeds=${SEEDS:-10000}
out=${OUT:-table3}
pairs=${PAIRS:-$(for k in $(seq 6 20); do echo "$k,$k"; done; for m in $(seq 8 19); do echo "$((m + 1)),$m"; done)}

for pair in $pairs; do
    students=${pair%,*} teachers=${pair#*,}
    sweep=(python3 -m odelandscape sweep -K "$students" -M "$teachers" --seeds "$seeds" --quiet)
    sweep+=(--out "$out/K$students-M$teachers")
    if [ -n "${SLURM_ARRAY_TASK_ID:-}" ]; then
        sweep+=(--share "$SLURM_ARRAY_TASK_ID/$shares")
    fi
    "${sweep[@]}"
done
