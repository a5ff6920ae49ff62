#!/usr/bin/env bash
# Reproduce the tables of bundle/docs/results with the shipped weights.
#
#   scripts/reproduce_results.sh [--quick] [--dry-run] [--out DIR] [TABLE ...]
#
# Tables (default: all but the last two):
#   shipped severity laterality tuning solvers ablations speed preparation phantom descriptions real switches
#   shipped       cohort, counterfactuals, baselines, scores and report: systems.csv, groups.csv
#   severity, laterality, tuning, solvers, ablations, speed, preparation, phantom, descriptions
#                 the section of that name; tuning and solvers use the cohort of `shipped`
#   real          "On real patients", from a download of ChestX-ray14 in the folder CHESTXRAY14. Further variables:
#                 EARLIER, a model file to compare with; SIZE, 256 or 512, trains Stable Diffusion 1.5's geometry on a GPU
#                 of GPU_MEMORY (24) GB from the imported file SD15 and scores that (default: 128, the shipped weights)
#   switches      the paper's Table 2 on the same journeys, with three seeds
# Every command writes its output to DIR/logs/NAME.log, whose last lines hold the numbers. A command that has finished is
# not run again, so a stopped run resumes; a command that fails ends its table, not the others. Exit status 1 if any failed.
#
# All of it takes more than a day on two CPU cores. --quick runs everything at toy size: it shows that the commands work,
# not the numbers. --dry-run prints the commands. The row of all-MiniLM-L6-v2 needs its folder in the variable MINILM.
set -uo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out=results quick=0 dry=0 tables=()
known="shipped severity laterality tuning solvers ablations speed preparation phantom descriptions"
real="real switches"
while (($#)); do
  case "$1" in
    --quick) quick=1 ;;
    --dry-run) dry=1 ;;
    --out) out="${2:?--out needs a folder}"; shift ;;
    --help | -h) sed -n '2,/^set/{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
    -*) echo "unknown option $1; see --help" >&2; exit 2 ;;
    *) [[ " $known $real " == *" $1 "* ]] || { echo "unknown table $1; choose from: $known $real" >&2; exit 2; }; tables+=("$1") ;;
  esac
  shift
done
((${#tables[@]})) || read -ra tables <<< "$known"
test -d "$root/.venv/bin" && PATH="$root/.venv/bin:$PATH"
bench="$root/scripts/benchmarks"

full() { if ((quick)); then echo "$2"; else echo "$1"; fi; } # full SIZE TOY_SIZE

# step NAME COMMAND...: run the command unless the same command has finished before.
step() {
  local name="$1" line
  shift
  printf -v line '%q ' "$@"
  echo "[$name] $line"
  ((dry)) && return 0
  mkdir -p done logs
  [[ -f "done/$name" && "$(< "done/$name")" == "$line" ]] && return 0
  if "$@" > "logs/$name.log" 2>&1; then
    echo "$line" > "done/$name"
  else
    echo "[$name] failed; the last lines of $PWD/logs/$name.log:" >&2
    tail -5 "logs/$name.log" >&2
    return 1
  fi
}

cohort() {
  step phantom biomedjourney phantom --out cohort --patients "$(full 2900 60)" --seed 20263 --truth \
    && step validation-truth biomedjourney phantom --out cohort --patients "$(full 2900 60)" --seed 20263 \
      --truth test validate \
    && step cohort biomedjourney cohort --source cohort --work work \
    && step journeys biomedjourney journeys --work work \
    && step register biomedjourney register --work work \
    && step describe biomedjourney describe --work work --seed 0
}

shipped() {
  local budget=(--pretrain_epochs 4 --finetune_epochs 4)
  ((quick)) && budget=(--pretrain_epochs 1 --finetune_epochs 1 --epoch_length 2 --batch_size 4)
  cohort \
    && step sample biomedjourney sample --work work \
    && step text-only biomedjourney sample --work work --system text-only --text-only \
    && step generic-pictures python "$bench/generic_pictures.py" --out generic \
    && step generic-encode biomedjourney encode --work generic \
    && step generic-train biomedjourney train --work generic -- "${budget[@]}" --score_epochs 0 \
    && step generic-text biomedjourney sample --work work --system generic-text-to-image --text-only \
      --model generic/runs/pretrain/model.pt \
    && step generic-edits biomedjourney sample --work work --system generic-edits --keep-unchanged 0 \
      --model generic/runs/finetune/model.pt \
    && step evaluate biomedjourney evaluate --work work --truth cohort/truth --bootstrap "$(full 2000 50)" \
      --training-targets "$(full 2000 50)" --probes "$(full 64 4)" \
    && step report biomedjourney report --work work --truth cohort/truth \
    && step picture biomedjourney report --work work --picture results.jpg --picture-journeys "$(full 7 2)" --seed 20263
}

severity() {
  step severity python "$bench/severity.py" --priors "$(full 100 4)" \
    && step severity-only-new python "$bench/severity.py" --priors "$(full 100 4)" --only-what-is-new
}

laterality() { step laterality python "$bench/laterality.py" --priors "$(full 120 4)"; }

tuning() {
  local limit scales
  limit="$(full 200 4)"
  cohort || return 1
  for scales in "1 1.5;1 1.5" "2 3;1.5 2"; do
    # shellcheck disable=SC2086
    step "tune-${scales%% *}" biomedjourney tune --work work --limit "$limit" --steps 5 \
      --text-guidance-scales ${scales%;*} --image-guidance-scales ${scales#*;} \
      --keep-unchanged 0 0.02 0.03 0.04 0.05 --truth cohort/truth || return 1
    ((dry)) || cp work/tune/tune.md "tune-${scales%% *}.md"
  done
}

solvers() {
  cohort && step solvers python "$bench/solvers.py" --work work --precision auto --only-steps 5 10 \
    --journeys "$(full 48 4)" --reference-steps "$(full 250 20)"
}

# ablation_config NAME: the shipped config with the patients and iterations of the tables.
ablation_config() {
  python - "$root/bundle" "$1" "$(full 700 60)" "$(full 640 4)" "$(full 80 2)" "$quick" "${MINILM:-}" << 'PYTHON'
import sys
from pathlib import Path

import yaml

bundle, name, patients, iterations, pretrain, quick, minilm = sys.argv[1:]
config = yaml.safe_load(Path(bundle, "configs", f"{name}.yaml").read_text())
config["phantom"] = {"patients": int(patients), "seed": 20265}
config["training"] |= {"iterations": int(iterations), "pretrain_iterations": int(pretrain), "epoch_length": int(pretrain)}
config["training"]["settings"]["batch_size"] = 16
if name == "ablation":
    config["arguments"]["sample"] = "--steps 5 --text-guidance-scale 3 --image-guidance-scale 2 --keep-unchanged 0.04".split()
    towers = {"untrained": str(Path("untrained").resolve())} | ({"minilm": minilm} if minilm else {})
    config["text_encoders"] |= towers
    config["also"] = [{"text": "progression", "registration": True, "stages": 2, "text_encoder": tower} for tower in towers]
if quick == "1":
    config["training"]["autoencoder_epochs"] = 1
    config["arguments"]["evaluate"] = ["--bootstrap", "20"]
Path(f"{name}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
PYTHON
}

ablations() {
  local name
  step untrained-tower biomedjourney train-text --out untrained --seed 1 --images 60 --steps 1 || return 1
  for name in ablation_networks ablation; do
    step "config-$name" ablation_config "$name" \
      && step "$name" biomedjourney ablation --config "$name.yaml" --out "$name" || return 1
  done
}

speed() {
  local little=()
  ((quick)) && little=(--quick)
  step speed-sampling python "$bench/sampling.py" --steps "$(full 4 2)" --rounds 2 "${little[@]}" \
    && step speed-training python "$bench/training.py" --rounds "$(full 5 1)" \
    && step speed-evaluation python "$bench/evaluation.py" --journeys "$(full 500 40)" --bootstrap "$(full 2000 50)" \
    && step memory-step python "$bench/optimiser_step.py" --table \
    && step memory-presets python "$bench/gpu_presets.py"
}

preparation() {
  step preparation python "$bench/preparation.py" --rows "$(full 377110 2000)" --pairs "$(full 20 2)" \
    --naive-iterations "$(full 5 1)" \
    && step reading python "$bench/reading.py" --repeats "$(full 10 1)" \
    && step view-check python "$bench/view_check.py" --patients "$(full 60 4)"
}

phantom() {
  step phantom-speed python "$bench/phantom_speed.py" --patients "$(full 20 2)" \
    && step phantom-writing python "$bench/phantom_writing.py" --images "$(full 377110 600)" --patients "$(full 5000 4)" \
    && step phantom-readability python "$bench/phantom_readability.py" --patients "$(full 1000 30)" --steps "$(full 1000 5)"
}

descriptions() {
  step sections python "$bench/sections.py" \
    && step findings python "$bench/findings.py" --patients "$(full 1000 20)" \
    && step descriptions python "$bench/descriptions.py" --patients "$(full 2000 20)" --pairs "$(full 1000 20)"
}

# download: the folder of ChestX-ray14.
download() {
  [[ -d ${CHESTXRAY14:-} ]] && CHESTXRAY14=$(cd "$CHESTXRAY14" && pwd) && return
  echo "CHESTXRAY14 must be the folder of the download; found '${CHESTXRAY14:-}'" >&2
  return 1
}

real() {
  local size="${SIZE:-128}" model=()
  local sd15="$root/bundle/configs/sd15.yaml" gpu="$root/bundle/configs/gpu.yaml"
  step real-cohort biomedjourney cohort --chestxray14 "$CHESTXRAY14" --views PA --work real \
    && step real-journeys biomedjourney journeys --work real \
    && step real-register biomedjourney register --work real --size "$size" \
    && step real-describe biomedjourney describe --work real --seed 0 || return 1
  if ((size != 128)); then
    model=(--overlay "$sd15" --model real/runs/finetune/model.pt)
    step real-encode biomedjourney encode --work real --overlay "$sd15" --model "${SD15:?a file of import-weights}" \
      && step real-pretrain biomedjourney train --work real --overlay "$sd15" "$gpu" --stage pretrain -- \
        --gpu_memory "${GPU_MEMORY:-24}" --image_size "$size" --start_from "$SD15" \
      && step real-finetune biomedjourney train --work real --overlay "$sd15" "$gpu" --stage finetune -- \
        --gpu_memory "${GPU_MEMORY:-24}" --image_size "$size" || return 1
  fi
  step real-sample biomedjourney sample --work real "${model[@]}" \
    && step real-text-only biomedjourney sample --work real "${model[@]}" --system text-only --text-only || return 1
  if [[ -n ${EARLIER:-} ]]; then
    step real-earlier biomedjourney sample --work real --system earlier --model "$EARLIER" \
      --text-guidance-scale 2 --image-guidance-scale 1.5 || return 1
  fi
  if ((size == 128)); then
    step real-average biomedjourney sample --work real --system average --average 4 \
      && step real-student biomedjourney sample --work real --system student --model student.pt || return 1
  fi
  step real-evaluate biomedjourney evaluate --work real --judges chestxray14 --bootstrap "$(full 2000 50)" \
    && step real-report biomedjourney report --work real || return 1
  ((size == 128)) || return 0
  step real-anatomy python "$bench/real_anatomy.py" --onto real --films "$(full 60 4)" \
    && step real-anatomy-student python "$bench/real_anatomy.py" --onto real --films "$(full 60 4)" --model student.pt \
    && step real-no-change python "$bench/no_change.py" real --films "$(full 100 10)" \
    && step real-views python "$bench/view_check.py" --chestxray14 "$CHESTXRAY14" \
    && step real-autoencoder biomedjourney check-autoencoder --work real # last: it ends with 1 if a target is missed
}

# switches_config SEED: the paper's Table 2 at a small budget from random weights of the denoiser.
switches_config() {
  python - "$root/bundle" "$CHESTXRAY14" "$1" "$(full 1000 4)" "$(full 250 2)" "$(full 16 4)" "$quick" << 'PYTHON'
import sys
from pathlib import Path

import yaml

bundle, source, seed, iterations, pretrain, batch, quick = sys.argv[1:]
config = yaml.safe_load(Path(bundle, "configs", "ablation.yaml").read_text())
config |= {"chestxray14": source, "seed": int(seed)}
config["arguments"] |= {"cohort": ["--views", "PA"], "evaluate": ["--judges", "chestxray14", "--bootstrap", "1000"]}
config["training"] |= {"iterations": int(iterations), "pretrain_iterations": int(pretrain), "epoch_length": int(pretrain)}
config["training"]["settings"] |= {"batch_size": int(batch), "changed_share": 0.7}
config["arguments"]["sample"] = ["--steps", "5", "--precision", "auto", "--keep-unchanged", "0"]
if quick == "1":
    config["arguments"]["sample"] = ["--steps", "2", "--limit", "4"]
Path(f"switches-{seed}.yaml").write_text(yaml.safe_dump(config, sort_keys=False))
PYTHON
}

# prepared_by_first SEED: the cohort and its pairs are the same for every seed; what depends on the seed is made again.
prepared_by_first() {
  rm -rf "switches-$1" && mkdir "switches-$1" && cp -al switches-0/{shared,registered,unregistered,steps} "switches-$1"
}

switches() {
  local seed
  for seed in 0 1 2; do
    ((seed)) && { step "prepared-$seed" prepared_by_first "$seed" || return 1; }
    step "config-switches-$seed" switches_config "$seed" \
      && step "switches-$seed" biomedjourney ablation --config "switches-$seed.yaml" --out "switches-$seed" || return 1
  done
  step switches python "$root/scripts/average_seeds.py" switches-{0,1,2} --csv real_switches.csv
}

for table in "${tables[@]}"; do
  [[ " $real " != *" $table "* ]] || download || exit 2
done
((dry)) || { mkdir -p "$out" && cd "$out" || exit 1; }
failed=()
for table in "${tables[@]}"; do
  $table || failed+=("$table")
done
if ((${#failed[@]})); then
  echo "failed: ${failed[*]}; the same command resumes" >&2
  exit 1
fi
((dry)) || echo "all numbers are in $PWD/logs, work/metrics.json and work/report/index.html"
