#!/usr/bin/env bash
# From raw recordings to an evaluation report, by the documented commands only. models/default was made by them.
#
#   examples/from_raw_to_report.sh [--short | --restricted] [--seed N] [--fold K] [DATA] [OUT]
#
# --short: two sets and a few steps, to see that the path works (minutes); the model knows nothing then.
# --restricted: the sets whose licence lets nobody pass their weights on (ssvep40, vep_edf): docs/results/restricted.
# --seed: of everything that is trained (0; another one goes to runs/KIND-N). `evaluate.py seeds` puts their reports
# beside each other.
# --fold: of the sets with several recordings of a person (muse_*), test the K-th recording before the last (0; another K
# goes to runs/KIND-foldK). `evaluate.py folds` reads the reports of all folds as one.
# Every step can be repeated: what is finished is not done again, and training goes on where it stopped.
set -euo pipefail
cd "$(dirname "$0")/.."
kind=default seed=0 fold=0
while [[ "${1:-}" == --* ]]; do
  case "$1" in
    --short | --restricted) kind=${1#--}; shift ;;
    --seed) seed=${2-}; shift; shift || true ;;
    --fold) fold=${2-}; shift; shift || true ;;
    *) echo "$1 is no option; see the first lines of $0" >&2; exit 2 ;;
  esac
done
[[ "$seed" =~ ^[0-9]+$ ]] || { echo "--seed '$seed': expected a whole number" >&2; exit 2; }
[[ "$fold" =~ ^[0-9]+$ ]] || { echo "--fold '$fold': expected a whole number" >&2; exit 2; }
[[ "$kind" != restricted || "$fold" = 0 ]] || { echo "--fold $fold: the restricted sets have no folds" >&2; exit 2; }
run=$kind$([ "$seed" = 0 ] || echo "-$seed")$([ "$fold" = 0 ] || echo "-fold$fold")
data=${1:-../shared/data} out=${2:-runs/$run} python=${PYTHON:-python}

sets=(cvep20 ssvep_exo muse_gratings muse_flicker muse_p300 muse_field eegmat)
eeg_only=(muse_n170 muse_go_no_go uci_smni eegmmidb)  # these teach the EEG tokenizer alone
aligned=[cvep20,ssvep_exo,muse_gratings,muse_flicker,muse_p300,muse_n170,muse_field]
weights='{cvep20: 110, ssvep_exo: 50, muse_p300: 40, muse_flicker: 30, eegmat: 25, eegmmidb: 20, uci_smni: 30}'
recipes='{cvep20: 5, ssvep_exo: 2.5, muse_gratings: 1, muse_flicker: 1, muse_p300: 1.5, muse_field: 2, eegmat: 0.4}'
# what is told less surely has to be seen more often, but not so often that it is learned by heart
# (docs/experiments/2026-11-27-cross-fit.md, -default.md and -rhythms.md)
answers='{cvep20: 4, ssvep_exo: 2.5, muse_gratings: 0.75, muse_flicker: 1.5, muse_p300: 0.75, muse_field: 7, eegmat: 0.4}'
photos="[$data/muse_visual/stim/cats_dogs]"
# pictures stand for labels here, so the likeliest ids are wanted (docs/experiments/2026-11-27-rhythms.md)
image=() eeg=() tokens=(--variants 5) model=() tuned=(--loop.steps 2000)
report=(--limit 120 --temperature 0 --baselines --attribution)
if [ "$kind" = short ]; then
  sets=(cvep20 muse_flicker) eeg_only=() aligned=[cvep20,muse_flicker] weights='{}' recipes='{}' answers='{}'
  image=(--loop.steps 20 --loop.validate_every 20) eeg=("${image[@]}" --data.batch_s 32 --data.validation_windows 32)
  tokens=(--variants 1) model=(--loop.steps 20 --loop.validate_every 20 --data.validation_records 8) report=(--limit 6)
  tuned=("${model[@]}")
elif [ "$kind" = restricted ]; then
  # 40 frequencies 0.2 Hz apart need power in 4 s; few steps: there are 120 windows of it to learn from
  sets=(ssvep40 vep_edf) eeg_only=() aligned=[ssvep40,vep_edf] weights='{ssvep40: 60}'
  recipes='{ssvep40: 3, vep_edf: 1}' answers='{ssvep40: 3, vep_edf: 1}'
  eeg=(--network.spectral_samples '[800]' --network.semantic_dim 48
    --loop.steps 700 --loop.validate_every 100 --loop.save_every 100 --schedule.warmup 50)
  tokens=(--variants 10) model=(--loop.steps 1200 --loop.validate_every 150 --loop.save_every 150)
  tuned=(--loop.steps 600)
fi
samples=$(printf "$out/samples/%s," "${sets[@]}") shards=$(printf "$out/tokens/%s," "${sets[@]}")
sure=$(printf "$out/sure/%s," "${sets[@]}") samples="[${samples%,}]" shards="[${shards%,}]" sure="[${sure%,}]"
recordings=$(printf "$out/samples/%s," "${sets[@]}" "${eeg_only[@]}") recordings="[${recordings%,}]"

if [[ " ${eeg_only[*]} " == *" eegmmidb "* ]]; then  # two of its files were copied as text: what is read are repaired copies
  mkdir -p "$out/repaired/eegmmidb"
  cp "$data/eegmmidb/S001R01.edf" "$out/repaired/eegmmidb/"
  for run in S001R04 S001R08; do
    $python examples/repair_text_mode_edf.py "$data/eegmmidb/$run.edf" "$out/repaired/eegmmidb/$run.edf"
  done
fi
for set in "${sets[@]}" "${eeg_only[@]}"; do
  from=$data turn=()
  [ "$set" = eegmmidb ] && from=$out/repaired
  [[ "$set" == muse_* ]] && turn=(--fold "$fold")
  $python prepare.py samples --recipe "$set" --data "$from" --out "$out/samples" "${turn[@]}"
done
$python train.py text-tokenizer --config configs/text-tokenizer.yaml --seed "$seed" --samples "$samples" \
  --out "$out/text" --export "$out/tokenizers/text"
$python train.py image-tokenizer --config configs/image-tokenizer.yaml --seed "$seed" --samples "$samples" \
  --pictures "$photos" --resume auto --out "$out/image" --export "$out/tokenizers/image" "${image[@]}"
$python train.py eeg-tokenizer --config configs/eeg-tokenizer.yaml --seed "$seed" --data.samples "$recordings" \
  --data.aligned "$aligned" --data.weights "$weights" --resume auto --out "$out/eeg" --export "$out/tokenizers/eeg" "${eeg[@]}"
# what ids say is learned from tokens that say it surely, how far to trust it from tokens as sure as those of new EEG
tokenize() {
  $python prepare.py tokens --samples $(printf "$out/samples/%s " "${sets[@]}") --tokenizers "$out/tokenizers" \
    --out "$out/$1" --cross-fit "$2" --seed "$seed" "${tokens[@]}"
}
tokenize sure false
tokenize tokens true
$python train.py pretrain --config configs/pretrain.yaml --seed "$seed" --data.tokens "$sure" --data.samples "$samples" \
  --data.tokenizers "$out/tokenizers" --data.recipes "$recipes" --resume auto --out "$out/pretrained" "${model[@]}"
$python train.py finetune --config configs/finetune.yaml --seed "$seed" --init "$out/pretrained" --data.tokens "$shards" \
  --data.samples "$samples" --data.tokenizers "$out/tokenizers" --data.recipes "$answers" --resume auto --out "$out/model" "${tuned[@]}"
$python evaluate.py --model "$out/model/final" --samples $(printf "$out/samples/%s " "${sets[@]}") \
  --split test "${report[@]}" --out "$out/report"
echo "report: $out/report/report.md"
