#!/usr/bin/env bash
# Train the small model at 128 and at 256 pixels (res256.yaml) with the same budget, and compare both, with detail
# transfer, with rendered truth at 1024 pixels.
#
#   [CHESTXRAY14=DIR] scripts/compare_resolutions.sh [--dry-run] [OUT]
#
# DIR is ChestX-ray14 with films of at least 256 pixels; without it both are trained on rendered films alone. Variables:
# PATIENTS (300 rendered ones), EPOCHS (3 of pretraining and of the autoencoder; twice as many of finetuning), ITERATIONS
# (100 an epoch), JOURNEYS (200). Both models take the same patients, iterations, batches and seeds.
#
# OUT (default: resolutions) receives the working folders and 128.txt and 256.txt, whose last lines are the figures and
# bars of scripts/benchmarks/detail.py. Finished steps are listed in OUT/done: the same command continues an interrupted
# comparison, and a training continues from its own checkpoint. --dry-run prints the commands and runs nothing.
set -euo pipefail

OUT=resolutions
DRY_RUN=
for argument in "$@"; do
  case $argument in
    --dry-run) DRY_RUN=1 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    -*) echo "error: unknown option $argument. See --help." >&2; exit 2 ;;
    *) OUT=$argument ;;
  esac
done
ROOT=$(cd "$(dirname "$0")/.." && pwd)
CONFIGS=$ROOT/bundle/configs
EPOCHS=${EPOCHS:-3} ITERATIONS=${ITERATIONS:-100}

# step NAME COMMAND...: run a command, unless it is done.
step() {
  local name=$1
  shift
  printf '[%s] ' "$name" && printf '%q ' "$@" && echo
  if [[ $DRY_RUN ]] || grep -qx "$name" "$OUT/done" 2> /dev/null; then
    return
  fi
  "$@"
  echo "$name" >> "$OUT/done"
}

bj() {
  "${PYTHON:-python}" -m biomedjourney_monai "$@"
}

# prepare NAME SIZE SOURCE...: a working folder with registered and described journeys.
prepare() {
  local work=$OUT/$1-$2
  step "$1-$2-cohort" bj cohort "${@:3}" --work "$work"
  step "$1-$2-journeys" bj journeys --work "$work"
  step "$1-$2-register" bj register --work "$work" --size "$2"
  step "$1-$2-describe" bj describe --work "$work" --seed 0
}

# measure FILE OPTION...: the benchmark, its output in a file.
measure() {
  "${PYTHON:-python}" "$ROOT/scripts/benchmarks/detail.py" --journeys "${JOURNEYS:-200}" --cache "$OUT/journeys" "${@:2}" > "$1.part"
  mv "$1.part" "$1"
}

[[ $DRY_RUN ]] || mkdir -p "$OUT"
step phantom bj phantom --out "$OUT/cohort" --patients "${PATIENTS:-300}" --seed 51
for size in 128 256; do
  overlay=() config=$CONFIGS/train_autoencoder.yaml works=("$OUT/rendered-$size")
  [[ $size == 256 ]] && overlay=(--overlay "$CONFIGS/res256.yaml") config="['$config','$CONFIGS/res256.yaml']"
  prepare rendered $size --source "$OUT/cohort"
  if [[ -n ${CHESTXRAY14:-} ]]; then
    prepare real $size --chestxray14 "$CHESTXRAY14"
    works+=("$OUT/real-$size")
  fi
  first=$OUT/rendered-$size
  dirs=$(printf "'%s'," "${works[@]}")
  step "$size-autoencoder" "${PYTHON:-python}" -m monai.bundle run training --config_file "$config" \
    --bundle_root "$ROOT/bundle" --dataset_dir "$first" --image_dirs "[${dirs%,}]" --output_dir "$first/runs" \
    --max_epochs "$EPOCHS" --epoch_length "$ITERATIONS" --seed 1
  for work in "${works[@]}"; do
    [[ $work == "$first" ]] || step "$size-share" install -D -m 644 "$first/runs/autoencoder.pt" "$work/runs/autoencoder.pt"
    step "$size-encode-${work##*/}" bj encode --work "$work" --bundle "$ROOT/bundle" "${overlay[@]}"
  done
  named=()
  for work in "${works[@]}"; do
    named+=(--work "$work")
  done
  step "$size-train" bj train "${named[@]}" --bundle "$ROOT/bundle" "${overlay[@]}" -- \
    --pretrain_epochs "$EPOCHS" --finetune_epochs $((2 * EPOCHS)) --epoch_length "$ITERATIONS" --seed 1 --score_epochs 0
  step "$size-measure" measure "$OUT/$size.txt" --bundle "$ROOT/bundle" --model "$first/runs/finetune/model.pt" "${overlay[@]}"
done
